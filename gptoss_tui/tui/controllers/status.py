"""Fills the status line from the events of the engine and the agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.base import count
from gptoss_tui.tui.blocks.reasoning import CHARS_PER_TOKEN
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.agent.commands import ContextReport
    from gptoss_tui.engine.types import EngineInfo
    from gptoss_tui.tui.widgets.status import Activity, StatusLine
else:
    ev = late("gptoss_tui.agent.events")

SETTLE_SECONDS = 0.4
"""A speed measured over less time than this is not shown."""


class StatusController:
    """Owns the line's `Status`. While text streams, the speed is an estimate; the end of a step gives the exact one."""

    def __init__(self, line: StatusLine, clock: Callable[[], float]) -> None:
        self._line = line
        self._clock = clock
        self._streamed = 0
        self._since: float | None = None
        self._asked_at: float | None = None

    @property
    def activity(self) -> Activity:
        """The current activity."""
        return self._line.status.activity

    def set_activity(self, activity: Activity, detail: str = "") -> None:
        """Set the current activity."""
        status = self._line.status
        status.activity, status.detail = activity, detail
        self._line.changed()

    def set_model(self, info: EngineInfo) -> None:
        """Show the loaded model."""
        status = self._line.status
        status.model, status.device = to_terminal_line(info.model), to_terminal_line(info.device)
        status.backend = to_terminal_line(info.backend)
        status.context_limit = info.context
        self._line.changed()

    def set_sandbox(self, name: str) -> None:
        """Show what confines the tools that run code; empty when there are no such tools."""
        self._line.status.sandbox = to_terminal_line(name)
        self._line.changed()

    def set_context(self, report: ContextReport) -> None:
        """Show how full the context is, and how much of it is cached."""
        status = self._line.status
        status.context_used, status.context_cached = report.used, report.cached
        status.context_limit = report.limit or status.context_limit
        self._line.changed()

    def new_conversation(self) -> None:
        """Reset the context: it is empty again."""
        status = self._line.status
        status.context_used, status.context_cached = 0, None
        status.tokens_per_second = status.first_token_seconds = 0.0
        self._line.changed()

    def apply(self, event: ev.Event) -> None:
        """Handle an event of a turn."""
        match event:
            case ev.TurnStarted():
                self._asked_at = self._clock()
                self.set_activity("reading")
            case ev.PromptProgress():
                self._restart()
                self.set_activity("reading", _share_read(event))
            case ev.ReasoningDelta():
                self._stream("thinking", event.text)
            case ev.AnswerDelta():
                self._stream("answering", event.text)
            case ev.ToolCallDelta():
                self._stream("calling", event.text)
            case ev.ApprovalRequest():
                self.set_activity("approval")
            case ev.ToolStarted():
                self.set_activity("tool", to_terminal_line(event.tool))
            case ev.ToolFinished() | ev.ApprovalResolved():
                self.set_activity("reading")
            case ev.StepFinished():
                self._finish_step(event)
            case ev.TurnFinished():
                self._restart()
                self._asked_at = None
                self.set_activity("ready")
            case ev.CompactionStarted():
                self.set_activity("reading", "to sum it up")
            case ev.CompactionDelta():
                self._stream("answering", event.text)
            case ev.CompactionFinished():
                self._restart()
                self._line.status.context_used = event.tokens
                self.set_activity("reading" if self._asked_at is not None else "ready")

    def _restart(self) -> None:
        self._streamed, self._since = 0, None

    def _stream(self, activity: Activity, text: str) -> None:
        status = self._line.status
        if status.activity != activity:
            self.set_activity(activity)
        now = self._clock()
        if self._asked_at is not None:
            status.first_token_seconds, self._asked_at = now - self._asked_at, None
        if self._since is None:
            self._since = now
        self._streamed += len(text)
        elapsed = now - self._since
        if elapsed >= SETTLE_SECONDS:
            status.tokens_per_second = self._streamed / CHARS_PER_TOKEN / elapsed
            status.speed_is_estimate = True

    def _finish_step(self, event: ev.StepFinished) -> None:
        status = self._line.status
        status.context_used, status.context_limit = event.context_used, event.context_limit
        status.context_cached = event.context_used
        if event.decode_seconds > 0 and event.generated_tokens > 1:
            status.tokens_per_second = event.generated_tokens / event.decode_seconds
            status.speed_is_estimate = False
        self._restart()
        self._line.changed()


def _share_read(event: ev.PromptProgress) -> str:
    """How many of the tokens that were not cached have been read so far."""
    new = event.total - event.cached
    return f"{count(event.done - event.cached)}/{count(new)} tokens" if new > 0 else ""
