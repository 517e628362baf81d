"""The events of a turn as lines, each with who speaks. Text comes in whole sentences, never letter by letter."""

from __future__ import annotations

import re
from collections.abc import Callable

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.attached import OWN_TOOL
from gptoss_tui.agent.checklist import PlanFollower
from gptoss_tui.agent.references import references
from gptoss_tui.sanitize import to_terminal_line

_SENTENCE = re.compile(r"[.!?…:][\"')\]]*\s")
_LONG = 160
"""A line that grows is spoken up to its last sentence when it has this many characters."""
OUTPUT_LINES = 20
FIRST_LINES = 4
"""Of what a program printed so many lines of the beginning are among them: what came of it stands at the end."""
_PROGRAMS = frozenset({"shell", "python"})
_STATUS_WORDS = {"completed": "Done", "in_progress": "Now", "pending": "To do"}


class Speaker:
    """Writes through `say`. Deltas are gathered until there is a line or a sentence to say."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._speaking = ""
        self._pending = ""
        self._calls: dict[str, str] = {}
        self._answered: dict[str, str] = {}
        self._plans = PlanFollower()

    def apply(self, event: ev.Event) -> None:
        """Say what happened."""
        match event:
            case ev.ReasoningDelta():
                self._stream("Thinking", event.text)
            case ev.AnswerDelta():
                self._stream("Note" if event.preamble else "Answer", event.text)
            case ev.ReasoningDone():
                self._finish()
            case ev.AnswerDone():
                self._answered[event.item_id] = event.text
                self._finish()
            case ev.AnswerCited():
                self._cite(event)
            case ev.ToolCallDelta():
                self._finish()
            case ev.TurnFinished():
                self._end(event)
            case _:
                self._tell(event)

    def _tell(self, event: ev.Event) -> None:
        match event:
            case ev.Steered():
                self._line(f"The model reads now: {to_terminal_line(event.text)}")
            case ev.EffortChanged():
                self._line(f"Effort is {event.effort}; {event.tokens} tokens are read again.")
            case ev.ToolCall():
                self._call(event)
            case ev.ToolFinished():
                self._result(event)
            case ev.Recovered() | ev.RunawayDetected():
                self._line(f"Note: {event.what}")
            case ev.Notice():
                self._line(f"Note: {_with(event.text, event.hint)}")
            case ev.CompactionStarted():
                self._line(f"Summing up {event.tokens} tokens.")
            case ev.CompactionFinished():
                done = f"The conversation has {event.tokens} tokens now."
                self._line(f"Not summed up: {_with(event.error, event.hint)}" if event.error else done)

    def _stream(self, who: str, text: str) -> None:
        if self._speaking != who:
            self._finish()
            self._speaking = who
            self._pending = f"{who}: "
        self._pending += text
        cut = self._pending.rfind("\n") + 1
        if not cut and len(self._pending) >= _LONG:
            sentences = list(_SENTENCE.finditer(self._pending))
            cut = sentences[-1].end() if sentences else 0
        if cut:
            self._line(self._pending[:cut].rstrip())
            self._pending = self._pending[cut:]

    def _finish(self) -> None:
        if self._pending.strip() and self._pending != f"{self._speaking}: ":
            self._line(self._pending.rstrip())
        self._speaking, self._pending = "", ""

    def _call(self, event: ev.ToolCall) -> None:
        """What is called; of a plan, the steps that changed."""
        self._calls[event.item_id] = event.summary
        told = self._plans.told_by(event)
        if told is None:
            who = "Your command" if event.tool == OWN_TOOL else "Tool"
            self._line(f"{who}: {to_terminal_line(event.summary)}")
            return
        plan, changed = told
        self._line(
            f"Plan, {plan.done} of {len(plan.steps)} done" + (f": {plan.explanation}" if plan.explanation else ".")
        )
        for step in changed:
            self._line(f"  {_STATUS_WORDS[step.status]}: {step.text}")

    def _result(self, event: ev.ToolFinished) -> None:
        if self._plans.ends(event):
            return
        self._line(f"Tool result: {event.status}, {event.seconds:.1f} seconds.")
        lines = event.output.splitlines()
        hidden = len(lines) - OUTPUT_LINES
        if hidden > 0:
            first = FIRST_LINES if event.tool in _PROGRAMS else OUTPUT_LINES
            lines[first : first + hidden] = [f"and {hidden} more lines"]
        for line in lines:
            self._line(f"  {line}")

    def _cite(self, event: ev.AnswerCited) -> None:
        found = references(self._answered.get(event.item_id, ""), event.citations)
        for label, what in found.entries:
            self._line(f"Source {label}: {what}")

    def _end(self, event: ev.TurnFinished) -> None:
        self._finish()
        match event.reason:
            case "failed" | "limit":
                what = "Failed" if event.reason == "failed" else "Stopped at a limit"
                self._line(f"{what}: {_with(event.error, event.hint)}")
            case "interrupted":
                self._line("Stopped.")

    def _line(self, text: str) -> None:
        self._say(text)


def _with(text: str, hint: str) -> str:
    """What happened, and what to do, as two sentences."""
    return f"{text.rstrip('.')}. {hint}" if hint else text
