"""Ollama's `/api/generate`, with the prompt as text with control tokens spelled out.

There are two ways, and each version of Ollama supports one of them. `raw` returns what the model wrote; since Ollama
uses llama.cpp's server, control tokens are missing from that. With a template that consists only of the prompt, Ollama
keeps them for its own parser, and reports thoughts, answers and calls separately.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gptoss_tui.engine.remote.dialect import Ended, Exchange, PartsReader, Reading, TextForm, plain_tokens
from gptoss_tui.engine.types import SamplingParams, Token
from gptoss_tui.errors import EngineError

PATH = "/api/generate"


class _Ollama:
    """Talks to `ollama serve`. `context` is what the model is loaded with: Ollama's default silently cuts prompts."""

    def __init__(self, model: str, form: TextForm, context: int) -> None:
        self._model = model
        self._form = form
        self._context = context

    def _body(self, prompt: list[int], params: SamplingParams, room: int) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": self._form.spell(prompt),
            "stream": True,
            # A prompt that does not fit must be an error: without its beginning it would lack its rules.
            "truncate": False,
            "shift": False,
            "options": options(params, room, self._context),
        }


class OllamaRaw(_Ollama):
    """Returns exactly what the model wrote."""

    name = "text, as the model writes it"

    def open(self, prompt: list[int], params: SamplingParams, room: int, schema: str | None = None) -> Exchange:
        return _Exchange(self._body(prompt, params, room) | {"raw": True}, self._form)


class OllamaParsed(_Ollama):
    """The other way: Ollama's parser reads what the model wrote."""

    name = "text, and answers that Ollama takes apart"

    def open(self, prompt: list[int], params: SamplingParams, room: int, schema: str | None = None) -> Exchange:
        opened = self._form.open_header(prompt)
        if opened is None:
            raise EngineError("Ollama cannot continue a message", hint="the answer so far is kept")
        begun, answering = opened
        body = self._body(begun, params, room) | {"template": "{{ .Prompt }}"}
        return _PartsExchange(body, self._form.parts(answering=answering))


class _PartsExchange:
    def __init__(self, body: dict[str, Any], reader: PartsReader) -> None:
        self.path, self.body = PATH, body
        self._reader = reader

    def read(self, event: Mapping[str, Any]) -> Reading:
        token_ids = self._reader.thought(_text(event, "thinking")) + self._reader.said(_text(event, "response"))
        for call in event.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                arguments = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
                token_ids += self._reader.called(_text(function, "name"), arguments)
        return Reading(plain_tokens(token_ids), _ended(event))

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        return plain_tokens(self._reader.finish(stopped))


def options(params: SamplingParams, room: int, context: int) -> dict[str, Any]:
    """Ollama's options. All are sent, because its defaults filter (top-k 40) and a model may bring its own.

    Raises EngineError for options that Ollama does not support and would silently ignore.
    """
    if params.logit_bias:
        raise EngineError("Ollama does not support logit_bias", hint="leave it out")
    chosen: dict[str, Any] = {
        "num_ctx": context,
        "num_predict": room,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "min_p": params.min_p,
        "typical_p": 1.0,
        "repeat_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop": [],
    }
    if params.seed is not None:
        chosen["seed"] = params.seed
    return chosen


class _Exchange:
    def __init__(self, body: dict[str, Any], form: TextForm) -> None:
        self.path, self.body = PATH, body
        self._reader = form.reader()

    def read(self, event: Mapping[str, Any]) -> Reading:
        return Reading(plain_tokens(self._reader.feed(_text(event, "response"))), _ended(event))

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        return plain_tokens(self._reader.finish(stopped))


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _ended(event: Mapping[str, Any]) -> Ended | None:
    if not event.get("done"):
        return None
    return "length" if event.get("done_reason") == "length" else "stop"
