"""OpenAI's `/v1/completions`, with token ids (vLLM, SGLang, our own server) or text (LM Studio) in both directions."""

from __future__ import annotations

import json
import math
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
from gptoss_tui.engine.types import SamplingParams, ScoredPosition, Token
from gptoss_tui.errors import EngineError

PATH = "/v1/completions"
_ID = "token_id:"
_ENDED: Mapping[str, Ended] = {"stop": "stop", "length": "length", "eos": "stop", "eos_token": "stop"}


class TokenCompletions:
    """Ids in, ids out. The model reads and writes exactly the tokens of the conversation."""

    name = "token ids"

    def __init__(self, model: str) -> None:
        self._model = model

    def open(self, prompt: list[int], params: SamplingParams, room: int, schema: str | None = None) -> Exchange:
        body = common_body(self._model, params, room) | {
            "prompt": prompt,
            "return_token_ids": True,
            "skip_special_tokens": False,
            "add_special_tokens": False,
            "stop_token_ids": list(params.stop_token_ids),
            "ignore_eos": not params.stop_token_ids,
        }
        if schema is not None:
            form = {"name": "text", "schema": json.loads(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if params.top_logprobs:
            body |= {"logprobs": params.top_logprobs, "return_tokens_as_token_ids": True}
        return _TokenExchange(body, params)

    def score_body(self, token_ids: list[int], top: int) -> tuple[str, dict[str, Any]]:
        return PATH, {
            "model": self._model,
            "prompt": token_ids,
            "max_tokens": 1,
            "temperature": 0.0,
            "add_special_tokens": False,
            "echo": True,
            "logprobs": max(1, top),
            "return_tokens_as_token_ids": True,
        }

    def read_scores(self, reply: Mapping[str, Any], token_ids: list[int], top: int) -> list[ScoredPosition]:
        # The reply has each token's probabilities given those before it, so nothing for the first token, and one more
        # entry for the token that was sampled.
        own, tops = _logprobs(_choice(reply), len(token_ids) + 1)
        if not any(tops):
            raise EngineError(
                "The server does not return the probabilities of a prompt",
                hint="vLLM and `gptoss-tui serve` do; otherwise score with a local model",
            )
        scored = [
            ScoredPosition(following, None if math.isnan(logprob) else logprob, alternatives[:top])
            for following, logprob, alternatives in zip(token_ids[1:], own[1:], tops[1:], strict=False)
        ]
        return [*scored, ScoredPosition(None, None, tops[-1][:top])]


class _TokenExchange:
    def __init__(self, body: dict[str, Any], params: SamplingParams) -> None:
        self.path, self.body = PATH, body
        self._stops = params.stop_token_ids

    def read(self, event: Mapping[str, Any]) -> Reading:
        cached = cached_tokens(event)
        choice = _choice(event)
        token_ids = [checked_token(token) for token in choice.get("token_ids") or ()]
        ended = _ENDED.get(choice.get("finish_reason") or "")
        # SGLang may omit the token that ended a text and report it separately.
        stop = choice.get("stop_reason", choice.get("matched_stop"))
        if ended == "stop" and type(stop) is int and stop in self._stops and token_ids[-1:] != [stop]:
            token_ids.append(stop)
        own, tops = _logprobs(choice, len(token_ids))
        tokens = tuple(Token(*one) for one in zip(token_ids, own, tops, strict=True))
        return Reading(tokens, ended, cached=cached)

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        return ()


class TextCompletions:
    """Text in, text out, with control tokens spelled out."""

    name = "text, as the model writes it"

    def __init__(self, model: str, form: TextForm) -> None:
        self._model = model
        self._form = form

    def open(self, prompt: list[int], params: SamplingParams, room: int, schema: str | None = None) -> Exchange:
        body = common_body(self._model, params, room) | {
            "prompt": self._form.spell(prompt),
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "repeat_penalty": 1.0,  # the name in LM Studio and llama.cpp
            "add_special_tokens": False,
        }
        return _TextExchange(body, self._form)


class _TextExchange:
    def __init__(self, body: dict[str, Any], form: TextForm) -> None:
        self.path, self.body = PATH, body
        self._reader = form.reader()

    def read(self, event: Mapping[str, Any]) -> Reading:
        choice = _choice(event)
        text = choice.get("text")
        token_ids = self._reader.feed(text) if isinstance(text, str) else []
        ended = _ENDED.get(choice.get("finish_reason") or "")
        return Reading(plain_tokens(token_ids), ended, cached=cached_tokens(event))

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        return plain_tokens(self._reader.finish(stopped))


def common_body(model: str, params: SamplingParams, room: int) -> dict[str, Any]:
    """The fields that both forms send.

    Disabled options are sent too: without them a server uses the defaults of its operator or of the model's
    `generation_config.json`. All servers accept -1 for a disabled `top_k`.
    """
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": room,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k or -1,
        "min_p": params.min_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if params.seed is not None:
        body["seed"] = params.seed
    if params.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in params.logit_bias.items()}
    return body


def cached_tokens(event: Mapping[str, Any]) -> int | None:
    """How much of the prompt the server had cached, if it says so."""
    usage = event.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    return count(details.get("cached_tokens")) if isinstance(details, dict) else None


def _choice(event: Mapping[str, Any]) -> dict[str, Any]:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}


def _logprobs(choice: Mapping[str, Any], length: int) -> tuple[list[float], list[tuple[tuple[int, float], ...]]]:
    """The log-probability and alternatives of each token; empty if the server names tokens by their text."""
    told = choice.get("logprobs")
    own = told.get("token_logprobs") if isinstance(told, dict) else None
    tops = told.get("top_logprobs") if isinstance(told, dict) else None
    logprobs = [number(value) for value in own] if isinstance(own, list) else []
    alternatives = [_alternatives(entry) for entry in tops] if isinstance(tops, list) else []
    if len(logprobs) != length:
        logprobs = [number(None)] * length
    if len(alternatives) != length:
        alternatives = [()] * length
    return logprobs, alternatives


def _alternatives(entry: Any) -> tuple[tuple[int, float], ...]:
    if not isinstance(entry, dict) or not all(key.startswith(_ID) for key in entry):
        return ()
    return ranked((checked_token(int(key.removeprefix(_ID))), number(value)) for key, value in entry.items())
