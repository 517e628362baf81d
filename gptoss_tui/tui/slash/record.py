"""The conversation as shown: its events without deltas, for export, copying, and showing it again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
else:
    ev = late("gptoss_tui.agent.events")

_FENCE = re.compile(
    r"^(?P<indent> {0,3})(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<code>.*?)^ {0,3}(?P=fence)[`~]*[ \t]*$",
    re.M | re.S,
)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced code block of an answer."""

    language: str
    code: str


class Record:
    """Keeps the events of the conversation in order, except for deltas and the like."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self._dropped: list[list[ev.Event]] = []

    def apply(self, event: ev.Event) -> None:
        """Add an event of the conversation."""
        if isinstance(event, ev.TurnStarted):
            self._dropped.clear()
        if not _is_passing(event):
            self.events.append(event)

    def clear(self) -> None:
        """Remove everything, for a new conversation."""
        self.events.clear()
        self._dropped.clear()

    def keep_before(self, turn_id: str) -> None:
        """Drop a turn and everything after it."""
        for index, event in enumerate(self.events):
            if event.turn_id == turn_id:
                self._dropped.append(self.events[index:])
                del self.events[index:]
                return

    def bring_back(self) -> None:
        """Restore what was dropped last."""
        if self._dropped:
            self.events += self._dropped.pop()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet."""
        return not any(isinstance(event, ev.TurnStarted) for event in self.events)

    def answers(self) -> Iterator[str]:
        """The texts of the answers, oldest first."""
        for event in self.events:
            if isinstance(event, ev.AnswerDone) and not event.preamble:
                yield event.text

    def last_answer(self) -> str:
        """The newest answer; empty when there is none."""
        return next(iter(reversed(list(self.answers()))), "")

    def code_blocks(self) -> list[CodeBlock]:
        """The code blocks, in order, of the newest answer that has any."""
        for answer in reversed(list(self.answers())):
            if found := code_blocks(answer):
                return found
        return []


def code_blocks(markdown: str) -> list[CodeBlock]:
    """The fenced blocks of a text, without their fences; the fence's indentation is removed from the code."""
    found = []
    for match in _FENCE.finditer(markdown):
        indent = match["indent"]
        rows = [row.removeprefix(indent) for row in match["code"].split("\n")]
        language = match["info"].strip().split(" ")[0]
        found.append(CodeBlock(language, "\n".join(rows).removesuffix("\n")))
    return found


def _is_passing(event: ev.Event) -> bool:
    """Whether an event is transient: later events contain everything that matters in it."""
    deltas = (ev.ReasoningDelta, ev.AnswerDelta, ev.ToolCallDelta, ev.ToolOutputDelta)
    return isinstance(event, (*deltas, ev.PromptProgress, ev.RawTokens))
