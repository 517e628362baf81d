"""llama.cpp's own `/completion`: token ids in, token ids out, with the progress of the prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gptoss_tui.engine.remote.dialect import (
    Ended,
    Exchange,
    Reading,
    TextForm,
    checked_token,
    count,
    number,
    plain_tokens,
    ranked,
)
from gptoss_tui.engine.types import PrefillProgress, SamplingParams, Token

PATH = "/completion"
_ENDED: Mapping[str, Ended] = {"eos": "stop", "word": "stop", "limit": "length"}


class LlamaCpp:
    """Talks to `llama-server`."""

    name = "token ids"

    def __init__(self, model: str, form: TextForm) -> None:
        self._model = model
        self._form = form

    def open(self, prompt: list[int], params: SamplingParams, room: int, schema: str | None = None) -> Exchange:
        # llama.cpp's defaults filter (top-k 40, min-p 0.05) in another order, so all settings are sent.
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt,
            "n_predict": room,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            "cache_prompt": True,
            "samplers": ["temperature", "top_k", "top_p", "min_p"],
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k,
            "min_p": params.min_p,
            "repeat_penalty": 1.0,
            "seed": -1 if params.seed is None else params.seed % 2**32,
            "ignore_eos": not params.stop_token_ids,
            "logit_bias": [[token, bias] for token, bias in params.logit_bias.items()],
        }
        if schema is not None:
            body["json_schema"] = json.loads(schema)
        if params.top_logprobs:
            body["n_probs"] = params.top_logprobs
        return _Exchange(body, self._form)


class _Exchange:
    def __init__(self, body: dict[str, Any], form: TextForm) -> None:
        self.path, self.body = PATH, body
        self._form = form

    def read(self, event: Mapping[str, Any]) -> Reading:
        progress = event.get("prompt_progress")
        if isinstance(progress, dict):
            return _read_progress(progress)
        ended = _ENDED.get(event.get("stop_type") or "", "stop") if event.get("stop") else None
        return Reading(self._tokens(event), ended, cached=_cached(event))

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        return ()

    def _tokens(self, event: Mapping[str, Any]) -> tuple[Token, ...]:
        token_ids = [checked_token(token) for token in event.get("tokens") or ()]
        said = event.get("content")
        if token_ids and isinstance(said, str) and said not in ("", self._form.spell(token_ids)):
            # The text of a character that spans several tokens comes as a whole, together with only its last token.
            return plain_tokens(self._form.encode(said))
        known = event.get("completion_probabilities")
        if isinstance(known, list) and len(known) == len(token_ids):
            return tuple(_with_logprobs(token, entry) for token, entry in zip(token_ids, known, strict=True))
        return plain_tokens(token_ids)


def _read_progress(progress: Mapping[str, Any]) -> Reading:
    total, cached, done = (count(progress.get(name)) or 0 for name in ("total", "cache", "processed"))
    return Reading(progress=PrefillProgress(total, min(done, total), cached), cached=cached)


def _cached(event: Mapping[str, Any]) -> int | None:
    timings = event.get("timings")
    return count(timings.get("cache_n")) if isinstance(timings, dict) else None


def _with_logprobs(token: int, entry: Any) -> Token:
    if not isinstance(entry, dict):
        return Token(token, number(None))
    top = entry.get("top_logprobs")
    pairs = [one for one in top if isinstance(one, dict)] if isinstance(top, list) else []
    alternatives = ranked((checked_token(one.get("id")), number(one.get("logprob"))) for one in pairs)
    return Token(token, number(entry.get("logprob")), alternatives)
