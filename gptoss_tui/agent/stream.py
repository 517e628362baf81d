"""One generation as it streams: sampled tokens in, agent events out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gptoss_tui.agent.events import (
    AnswerDelta,
    AnswerDone,
    Event,
    ReasoningDelta,
    ReasoningDone,
    Recovered,
    ToolCallDelta,
)
from gptoss_tui.harmony.parser import ContentDelta, MessageFinished, MessageStarted, ParserEvent, StreamParser
from gptoss_tui.harmony.tokenizer import Tokenizer

Kind = Literal["reasoning", "preamble", "answer", "call", "foreign"]


@dataclass(frozen=True, slots=True)
class SampledCall:
    """A tool call as the model wrote it.

    A call that is not `complete`, because the generation was cut off inside it, must not run. Neither must a call with
    a `doubt`, which says what had to be guessed.
    """

    item_id: str
    recipient: str
    tool: str
    arguments: str
    channel: str | None
    complete: bool
    doubt: str = ""


@dataclass(slots=True)
class _Item:
    id: str
    kind: Kind
    tool: str = ""


class StepStream:
    """Reads one generation, which ends with a call, the answer, or a message whose role is not the assistant.

    `next_id` returns ids for items; `tool_name` returns the registered tool name for a recipient. `answer` is the final
    text once it is complete, `preamble` the last text to the user that is not a final answer, and `call` the call that
    was made.
    """

    def __init__(self, tokenizer: Tokenizer, next_id: Callable[[], str], tool_name: Callable[[str], str]) -> None:
        self._parser = StreamParser(tokenizer)
        self._next_id = next_id
        self._tool_name = tool_name
        self._items: dict[int, _Item] = {}
        self._began: float | None = None
        self.last_id = ""
        self.open: Kind | None = None
        self.over = False
        self.answer: str | None = None
        self.preamble: str | None = None
        self.call: SampledCall | None = None

    def feed(self, token_ids: Sequence[int]) -> tuple[int, list[Event]]:
        """Parse tokens. Returns how many of them count, and their events, with the deltas of an item joined.

        Tokens after the end of the generation do not count: after a call the model has to wait for the reply.
        """
        if self._began is None:
            self._began = time.monotonic()
        parsed: list[ParserEvent] = []
        for count, token in enumerate(token_ids, start=1):
            for event in self._parser.feed((token,)):
                _append_joined(parsed, event)
                self.over = self.over or _ends_generation(event)
            if self.over:
                return count, self._convert(parsed)
        return len(token_ids), self._convert(parsed)

    def finish(self) -> list[Event]:
        """Close the open item, if any, with its content so far, and return the events. Idempotent."""
        return self._convert(self._parser.finish())

    def _convert(self, parsed: Sequence[ParserEvent]) -> list[Event]:
        events: list[Event] = []
        for event in parsed:
            if isinstance(event, MessageStarted):
                self._items[event.index] = self._start(event)
            elif isinstance(event, ContentDelta):
                events += _delta(self._items[event.index], event.text)
            else:
                events += self._close(self._items[event.index], event)
        return events

    def _start(self, event: MessageStarted) -> _Item:
        kind = _kind(event.role, event.channel, event.recipient)
        self.open = kind
        self.last_id = self._next_id()
        return _Item(self.last_id, kind, self._tool_name(event.recipient) if event.recipient else "")

    def _close(self, item: _Item, event: MessageFinished) -> list[Event]:
        now = time.monotonic()
        seconds = now - (self._began if self._began is not None else now)
        self._began, self.open = now, None
        events: list[Event] = [Recovered(item_id=item.id, what=note) for note in event.recovered]
        text = event.message.content
        if item.kind == "reasoning":
            events.append(ReasoningDone(item_id=item.id, text=text, tokens=event.num_tokens, seconds=seconds))
        elif item.kind in ("answer", "preamble"):
            preamble = item.kind == "preamble"
            events.append(
                AnswerDone(item_id=item.id, text=text, tokens=event.num_tokens, seconds=seconds, preamble=preamble)
            )
            if preamble:
                self.preamble = text
            else:
                self.answer = text
        elif item.kind == "call":
            self.call = SampledCall(
                item.id,
                event.message.recipient or "",
                item.tool,
                text,
                event.message.channel,
                event.stop != "eos",
                event.doubt,
            )
        return events


def _append_joined(events: list[ParserEvent], event: ParserEvent) -> None:
    last = events[-1] if events else None
    if isinstance(event, ContentDelta) and isinstance(last, ContentDelta) and last.index == event.index:
        events[-1] = ContentDelta(event.index, last.text + event.text)
    else:
        events.append(event)


def _ends_generation(event: ParserEvent) -> bool:
    if isinstance(event, MessageStarted):
        return event.role != "assistant"
    if isinstance(event, MessageFinished):
        return event.message.recipient is not None or event.message.channel not in ("analysis", "commentary")
    return False


def _kind(role: str, channel: str | None, recipient: str | None) -> Kind:
    if role != "assistant":
        return "foreign"
    if recipient is not None:
        return "call"
    if channel == "analysis":
        return "reasoning"
    return "preamble" if channel == "commentary" else "answer"


def _delta(item: _Item, text: str) -> list[Event]:
    match item.kind:
        case "reasoning":
            return [ReasoningDelta(item_id=item.id, text=text)]
        case "answer" | "preamble":
            return [AnswerDelta(item_id=item.id, text=text, preamble=item.kind == "preamble")]
        case "call":
            return [ToolCallDelta(item_id=item.id, tool=item.tool, text=text)]
        case "foreign":
            return []
