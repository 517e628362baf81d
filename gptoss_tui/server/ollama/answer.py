"""Formats answers for Ollama's API: lines of JSON, or one object."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Protocol

from gptoss_tui.server.continuation import Continuation
from gptoss_tui.server.dialogue import Dialogue
from gptoss_tui.server.errors import as_api_error
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.outbox import Outbox, encode
from gptoss_tui.server.reader import Closed, Delta
from gptoss_tui.server.service import Record
from gptoss_tui.server.stats import Stats
from gptoss_tui.server.turn import Ended, Turn, TurnEvent

_SECOND = 1_000_000_000

Message = dict[str, Any]
"""A part of an answer: `content`, and possibly `thinking` and `tool_calls`."""

Form = Callable[[Message], dict[str, Any]]
"""How a route formats a message: `chat_form` or `generate_form`."""


def chat_form(message: Message) -> dict[str, Any]:
    """The form of `/api/chat`."""
    return {"message": {"role": "assistant", **message}}


def generate_form(message: Message) -> dict[str, Any]:
    """The form of `/api/generate`."""
    rest = dict(message)
    return {"response": rest.pop("content"), **rest}


class Said(Protocol):
    """A model's output. `done_reason` is valid once it has ended."""

    stats: Stats
    done_reason: str

    def messages(self) -> AsyncGenerator[Message, None]:
        """Yield the output as it arrives. Raises GptOssError."""
        ...


class SaidInTurn:
    """The output of a turn of a dialogue."""

    def __init__(self, turn: Turn, dialogue: Dialogue) -> None:
        self.stats = turn.stats
        self.done_reason = "stop"
        self._turn = turn
        self._dialogue = dialogue

    async def messages(self) -> AsyncGenerator[Message, None]:
        """See `Said`."""
        async with aclosing(self._turn.run()) as events:
            async for event in events:
                for message in self._take(event):
                    yield message

    def _take(self, event: TurnEvent) -> Iterator[Message]:
        match event:
            case Delta(kind="reasoning", text=text):
                yield {"content": "", "thinking": text}
            case Delta(kind="answer" | "preamble", text=text):
                yield {"content": text}
            case Closed(kind="call", recipient=recipient, text=text):
                tool = self._dialogue.tool(self._turn.meant(recipient))
                if tool is not None:
                    call = {"function": {"name": tool.name, "arguments": _arguments(text)}}
                    yield {"content": "", "tool_calls": [call]}
            case Ended(reason=reason):
                self.done_reason = "length" if reason in ("length", "loop") else "stop"


class SaidBehindPrompt:
    """The continuation of a raw prompt."""

    def __init__(self, continuation: Continuation, host: EngineHost, ticket: Ticket) -> None:
        self.stats = continuation.stats
        self.done_reason = "stop"
        self._continuation = continuation
        self._host, self._ticket = host, ticket

    async def messages(self) -> AsyncGenerator[Message, None]:
        """See `Said`."""
        async with aclosing(self._continuation.run(self._host, self._ticket)) as pieces:
            async for piece in pieces:
                yield {"content": piece.text}
        self.done_reason = self._continuation.finish_reason


class Answer:
    """Sends a model's output to the client."""

    def __init__(self, record: Record, said: Said, form: Form) -> None:
        self._record = record
        self._said = said
        self._form = form
        self._began = time.monotonic()

    async def send(self, outbox: Outbox) -> None:
        """Send all lines."""
        try:
            async with aclosing(self._said.messages()) as messages:
                async for message in messages:
                    outbox.put(encode(line(self._record.model, self._form(message))) + b"\n")
            last = self._last({"content": ""})
        except Exception as error:
            last = {"error": self._record.failed(as_api_error(error)).message}
        outbox.put(encode(last) + b"\n", last=True)

    async def whole(self) -> dict[str, Any]:
        """One object with the whole output."""
        said: Message = {"content": ""}
        async with aclosing(self._said.messages()) as messages:
            async for message in messages:
                for name, value in message.items():
                    said[name] = said[name] + value if name in said else value
        return self._last(said)

    def _last(self, message: Message) -> dict[str, Any]:
        said = self._said
        return line(
            self._record.model, self._form(message), done=True, done_reason=said.done_reason, **self._cost(said.stats)
        )

    def _cost(self, stats: Stats) -> dict[str, int]:
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


def line(model: str, told: dict[str, Any], done: bool = False, **fields: Any) -> dict[str, Any]:
    """One line of an answer, or the only object."""
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": model, "created_at": created, **told, "done": done, **fields}


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return {"input": text}
