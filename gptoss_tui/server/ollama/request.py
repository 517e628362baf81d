"""Translates requests of Ollama's API to those for chat completions. Everything here may raise ApiError."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gptoss_tui.server.errors import not_supported
from gptoss_tui.server.fields import Fields

_OPTIONS = {
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop")},
    "num_predict": "max_tokens",
}
_NEVER = ("suffix", "template", "context")
_IMAGES = "An image as input: the model reads text only, and that"


def chat_request(fields: Fields) -> Fields:
    """Translate a request for `/api/chat` to one for chat completions."""
    return Fields(
        {"messages": _messages(fields), "tools": fields.values.get("tools"), **_answer(fields), **_sampling(fields)}
    )


def prompt_request(fields: Fields) -> Fields:
    """Translate a request for `/api/generate` to one for chat completions, with one message."""
    _refuse(fields, _NEVER)
    if fields.list("images"):
        raise not_supported(_IMAGES, fields.param("images"))
    messages = [{"role": "user", "content": fields.required_text("prompt")}]
    if system := fields.text("system"):
        messages.insert(0, {"role": "system", "content": system})
    return Fields({"messages": messages, **_answer(fields), **_sampling(fields)})


def raw_request(fields: Fields) -> Fields:
    """Translate a request for `/api/generate` with `raw` to one for completions."""
    _refuse(fields, (*_NEVER, "system", "images", "format"), " with 'raw'")
    return Fields({"prompt": fields.required_text("prompt"), **_sampling(fields)})


def _refuse(fields: Fields, names: Iterable[str], where: str = "") -> None:
    for name in names:
        if fields.values.get(name):
            raise not_supported(f"'{name}'{where}", fields.param(name))


def _sampling(fields: Fields) -> dict[str, Any]:
    """Sampling settings from `options`. Most other options are about how Ollama runs a model, and are ignored."""
    options = fields.child("options")
    if options is None:
        return {}
    chosen = {ours: options.values[name] for name, ours in _OPTIONS.items() if options.has(name)}
    if isinstance(chosen.get("max_tokens"), int) and chosen["max_tokens"] < 0:
        del chosen["max_tokens"]  # no limit
    return chosen


def _answer(fields: Fields) -> dict[str, Any]:
    """How to answer: the form of the answer, whether to think, and how hard."""
    body: dict[str, Any] = {}
    style = fields.values.get("format")
    if style == "json":
        body["response_format"] = {"type": "json_object"}
    elif style not in (None, ""):
        schema = fields.required_child("format").values
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    think = fields.values.get("think")
    if think is not None:
        body["reasoning_effort"] = {True: None, False: "none"}[think] if isinstance(think, bool) else think
    return body


def _messages(fields: Fields) -> list[dict[str, Any]]:
    """The messages. Calls have no ids in Ollama's API, so replies are matched to them in order."""
    found: list[dict[str, Any]] = []
    waiting: list[str] = []
    for index, message in enumerate(fields.children("messages")):
        if message.list("images"):
            raise not_supported(_IMAGES, message.param("images"))
        said = {**message.values}
        if message.has("thinking"):
            said["reasoning_content"] = said.pop("thinking")
        calls = []
        for number, call in enumerate(message.children("tool_calls")):
            function = call.required_child("function")
            arguments = function.values.get("arguments")
            text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
            waiting.append(f"call_{index}_{number}")
            calls.append({"id": waiting[-1], "function": {"name": function.required_text("name"), "arguments": text}})
        said["tool_calls"] = calls
        if message.values.get("role") == "tool":
            said["tool_call_id"] = waiting.pop(0) if waiting else ""
        found.append(said)
    return found
