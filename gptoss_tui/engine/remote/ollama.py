"""Ollama's `/api/generate` without its template: text in, text out, with the control tokens spelled out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptoss_tui.engine.remote.dialect import Ended, Exchange, Reading, TextForm, plain_tokens
from gptoss_tui.engine.types import SamplingParams, Token

PATH = "/api/generate"


class OllamaRaw:
    """Talks to `ollama serve`. `context` is what the model is loaded with: its own default cuts prompts silently."""

    name = "Ollama, text"

    def __init__(self, model: str, form: TextForm, context: int) -> None:
        self._model = model
        self._form = form
        self._context = context

    def open(self, prompt: list[int], params: SamplingParams, room: int) -> Exchange:
        body = {
            "model": self._model,
            "prompt": self._form.spell(prompt),
            "raw": True,
            "stream": True,
            # What does not fit has to be an error: a prompt without its beginning has lost its rules.
            "truncate": False,
            "shift": False,
            "options": options(params, room, self._context),
        }
        return _Exchange(body, self._form)


def options(params: SamplingParams, room: int, context: int) -> dict[str, Any]:
    """Ollama's options. All is said, because its defaults filter (top-k 40) and punish repetition."""
    chosen: dict[str, Any] = {
        "num_ctx": context,
        "num_predict": room,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "min_p": params.min_p,
        "repeat_penalty": 1.0,
    }
    if params.seed is not None:
        chosen["seed"] = params.seed
    return chosen


class _Exchange:
    def __init__(self, body: dict[str, Any], form: TextForm) -> None:
        self.path, self.body = PATH, body
        self._reader = form.reader()

    def read(self, event: Mapping[str, Any]) -> Reading:
        text = event.get("response")
        token_ids = self._reader.feed(text) if isinstance(text, str) else []
        ended: Ended | None = None
        if event.get("done"):
            ended = "length" if event.get("done_reason") == "length" else "stop"
        return Reading(plain_tokens(token_ids), ended)

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        return plain_tokens(self._reader.finish(stopped))
