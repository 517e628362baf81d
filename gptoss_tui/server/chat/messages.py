"""Converts the messages of a chat to harmony messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gptoss_tui.harmony.messages import Message
from gptoss_tui.server.content import read_text
from gptoss_tui.server.dialogue import OfferedTool, developer_message, tool_call, tool_reply
from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.fields import Fields

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def read_messages(fields: Fields, tools: Sequence[OfferedTool]) -> tuple[Message, ...]:
    """Read all messages, placing each call next to its reply. Raises ApiError."""
    if fields.list("messages") is None:
        raise fields.missing("messages")
    if not fields.list("messages"):
        raise fields.wrong("messages", "at least one message")
    return tuple(_Reader(tools).read(fields.children("messages")))


class _Reader:
    """Reads the messages in order. `_open` maps ids to calls that have no reply yet, in the order of the calls."""

    def __init__(self, tools: Sequence[OfferedTool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._open: dict[str, Message] = {}
        self._replies: dict[str, Message] = {}

    def read(self, messages: Iterator[Fields]) -> Iterator[Message]:
        last = None
        for message in messages:
            last = message
            role = message.choice("role", _ROLES)
            if role is None:
                raise message.missing("role")
            if role in ("tool", "function"):
                self._reply(message, role)
                if len(self._replies) == len(self._open):
                    yield from self._answered()
                continue
            if self._open:
                raise self._unanswered(message)
            yield from self._message(message, role)
        if self._open and last is not None:
            raise self._unanswered(last)

    def _message(self, message: Fields, role: str) -> Iterator[Message]:
        match role:
            case "assistant":
                yield from self._assistant(message)
            case "user":
                yield Message("user", read_text(message))
            case _:
                if text := read_text(message):
                    yield developer_message(text)

    def _assistant(self, message: Fields) -> Iterator[Message]:
        thought = message.text("reasoning_content") or message.text("reasoning")
        if thought:
            yield Message("assistant", thought, channel="analysis")
        text = read_text(message, optional=True) or message.text("refusal") or ""
        for call in message.children("tool_calls"):
            self._call(call)
        if (old := message.child("function_call")) is not None:
            self._add(old.required_text("name"), old.required_text("name"), old.required_text("arguments"), old)
        if text:
            yield Message("assistant", text, channel="commentary" if self._open else "final")

    def _call(self, call: Fields) -> None:
        kind = call.choice("type", ("function", "custom")) or "function"
        inner = call.required_child(kind)
        text = inner.required_text("arguments" if kind == "function" else "input")
        self._add(call.required_text("id"), inner.required_text("name"), text, call)

    def _add(self, call_id: str, name: str, text: str, where: Fields) -> None:
        if call_id in self._open:
            raise invalid(f"Two calls have the id {call_id[:80]!r}.", where.path)
        self._open[call_id] = tool_call(self._tools.get(name), f"functions.{name}", text)

    def _reply(self, message: Fields, role: str) -> None:
        name = "tool_call_id" if role == "tool" else "name"
        call_id = message.required_text(name)
        call = self._open.get(call_id)
        if call is None or call_id in self._replies:
            raise invalid(
                "A message with role 'tool' must answer a call of the assistant's message before it.",
                message.param(name),
            )
        self._replies[call_id] = tool_reply(call.recipient or "", read_text(message))

    def _answered(self) -> Iterator[Message]:
        """Calls with their replies. The model calls one tool after the other, so it reads them in that order."""
        for call_id, call in self._open.items():
            yield call
            yield self._replies[call_id]
        self._open, self._replies = {}, {}

    def _unanswered(self, message: Fields) -> ApiError:
        ids = ", ".join(call_id[:80] for call_id in self._open if call_id not in self._replies)
        return invalid(
            "An assistant message with 'tool_calls' must be followed by messages with role 'tool' that answer each "
            f"'tool_call_id'. Without an answer: {ids}.",
            message.path,
        )
