"""Ollama's chat, for programs that know no other server: `/api/chat`, `/api/tags`, `/api/show`, `/api/version`.

Requests are turned into those for chat completions, and the answer into lines of JSON.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gptoss_tui import __version__
from gptoss_tui.server.body import read_body
from gptoss_tui.server.chat.request import ChatRequest, read_chat_request
from gptoss_tui.server.encoding import beside
from gptoss_tui.server.errors import as_api_error, not_supported
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.outbox import LINES, Outbox, encode, json_answer, stream
from gptoss_tui.server.prompt import take_in
from gptoss_tui.server.reader import Closed, Delta
from gptoss_tui.server.service import SERVICE, Record, Service, record_of
from gptoss_tui.server.turn import Ended, EndReason, Turn, TurnEvent

_OPTIONS = {
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop")},
    "num_predict": "max_tokens",
}
_SECOND = 1_000_000_000


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a chat, in lines unless `stream` is false."""
    service = request.app[SERVICE]
    fields = await read_body(request, typed=False)  # not all clients of Ollama say what they send
    record = record_of(request)
    record.model = service.model(fields)
    record.stream = fields.flag("stream", True)
    if not fields.list("messages"):
        return json_answer(_line(record.model, {"content": ""}, done=True, done_reason="load"))
    ticket = service.admit(request, fields)
    try:
        asked = await beside(fields.size, lambda: _read(fields, service))
        opening = await take_in(service.host, asked.dialogue)
        turn = Turn(service.host, ticket, asked.dialogue, opening, asked.options)
        record.stats.append(turn.stats)
        answer = _Answer(record, asked, turn)
        if record.stream:
            return await stream(request, LINES, answer.send)
        return json_answer(await answer.whole())
    finally:
        ticket.leave()


def _read(fields: Fields, service: Service) -> ChatRequest:
    return read_chat_request(translated(fields), service.defaults, service.effort)


class _Answer:
    """A turn in Ollama's words."""

    def __init__(self, record: Record, asked: ChatRequest, turn: Turn) -> None:
        self._record = record
        self._model = record.model
        self._asked = asked
        self._turn = turn
        self._began = time.monotonic()
        self._done: dict[str, Any] = {}

    async def send(self, outbox: Outbox) -> None:
        """All lines."""
        try:
            async with aclosing(self._turn.run()) as events:
                async for event in events:
                    for message in self._take(event):
                        outbox.put(encode(_line(self._model, message)) + b"\n")
            last = _line(self._model, {"content": ""}, **self._done)
        except Exception as error:
            last = {"error": self._record.failed(as_api_error(error)).message}
        outbox.put(encode(last) + b"\n", last=True)

    async def whole(self) -> dict[str, Any]:
        """One object with all that was said."""
        said: dict[str, Any] = {"content": ""}
        async with aclosing(self._turn.run()) as events:
            async for event in events:
                for message in self._take(event):
                    for name, value in message.items():
                        said[name] = said[name] + value if name in said else value
        return _line(self._model, said, **self._done)

    def _take(self, event: TurnEvent) -> Iterator[dict[str, Any]]:
        """What a message says of an event."""
        match event:
            case Delta(kind="reasoning", text=text):
                yield {"content": "", "thinking": text}
            case Delta(kind="answer" | "preamble", text=text):
                yield {"content": text}
            case Closed(kind="call", recipient=recipient, text=text):
                tool = self._asked.dialogue.tool(self._turn.meant(recipient))
                if tool is not None:
                    call = {"function": {"name": tool.name, "arguments": _arguments(text)}}
                    yield {"content": "", "tool_calls": [call]}
            case Ended(reason=reason):
                self._done = {"done": True, "done_reason": _reason(reason), **self._cost()}

    def _cost(self) -> dict[str, int]:
        stats = self._turn.stats
        whole = time.monotonic() - self._began
        first = whole if stats.first_token_seconds is None else stats.first_token_seconds
        return {
            "total_duration": round(whole * _SECOND),
            "load_duration": 0,
            "prompt_eval_count": stats.prompt_tokens,
            "prompt_eval_duration": round(max(first - stats.waited_seconds, 0.0) * _SECOND),
            "eval_count": stats.generated_tokens,
            "eval_duration": round(max(whole - first, 0.0) * _SECOND),
        }


async def tags(request: web.Request) -> web.Response:
    """The models that there are."""
    service = request.app[SERVICE]
    return web.json_response({"models": [_described(service, name) for name in service.names]})


async def show(request: web.Request) -> web.Response:
    """What a model can do."""
    service = request.app[SERVICE]
    fields = await read_body(request, typed=False)
    asked = Fields({"model": fields.values.get("model") or fields.values.get("name")})
    described = _described(service, service.model(asked))
    info = service.host.info
    facts = {"general.architecture": "gptoss", "gptoss.context_length": info.context if info else None}
    capabilities = ["completion", "tools", "thinking"]
    return web.json_response({"details": described["details"], "model_info": facts, "capabilities": capabilities})


async def root(request: web.Request) -> web.Response:
    """Somebody is there: what Ollama's own client asks before everything else."""
    return web.Response(text="gptoss-tui is running\n")


async def version(request: web.Request) -> web.Response:
    """Our own version: clients ask for it to see whether somebody is there."""
    return web.json_response({"version": __version__})


def translated(fields: Fields) -> Fields:
    """The request for chat completions that an Ollama request stands for. Raises ApiError."""
    body: dict[str, Any] = {"messages": _messages(fields), "tools": fields.values.get("tools")}
    options = fields.child("options")
    if options is not None:
        body |= {ours: options.values[name] for name, ours in _OPTIONS.items() if options.has(name)}
    if isinstance(body.get("max_tokens"), int) and body["max_tokens"] < 0:
        del body["max_tokens"]  # no limit
    style = fields.values.get("format")
    if style == "json":
        body["response_format"] = {"type": "json_object"}
    elif style not in (None, ""):
        schema = fields.required_child("format").values
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    think = fields.values.get("think")
    if think is not None:
        body["reasoning_effort"] = {True: None, False: "none"}[think] if isinstance(think, bool) else think
    return Fields(body)


def _messages(fields: Fields) -> list[dict[str, Any]]:
    """The messages; calls have no ids there, and are answered in their order."""
    found: list[dict[str, Any]] = []
    waiting: list[str] = []
    for index, message in enumerate(fields.children("messages")):
        if message.list("images"):
            raise not_supported("An image as input: the model reads text only, and that", message.param("images"))
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


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return {"input": text}


def _reason(reason: EndReason) -> str:
    return "length" if reason in ("length", "loop") else "stop"


def _line(model: str, message: dict[str, Any], done: bool = False, **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", **message}
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": model, "created_at": created, "message": said, "done": done, **fields}


def _described(service: Service, name: str) -> dict[str, Any]:
    info = service.host.info
    return {
        "name": name,
        "model": name,
        "modified_at": datetime.fromtimestamp(service.created, UTC).isoformat(),
        "size": info.weight_bytes if info else 0,
        "digest": hashlib.sha256(name.encode()).hexdigest(),  # of the name: there is no manifest, but clients cut it
        "details": {"format": "safetensors", "family": "gptoss", "families": ["gptoss"], "quantization_level": "MXFP4"},
    }
