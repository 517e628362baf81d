"""Reaches a user who is looking elsewhere: by the window's title, which shows the state, and by notifications."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.base import seconds
from gptoss_tui.tui.late import late
from gptoss_tui.tui.terminal.attention import Way, call, window_title

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
else:
    ev = late("gptoss_tui.agent.events")

PAUSE_SECONDS = 1.0
"""The minimum time between two notifications, so that several questions in a row ring once."""
_NAME = "gptoss-tui"


class AttentionController:
    """Writes to the terminal through `write`. Notifies only while the window has no focus, not twice in a moment."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float], way: Way, workspace: str) -> None:
        self._write = write
        self._clock = clock
        self._way: Way = way
        self._place = PurePath(workspace).name or workspace
        self._focused = True
        self._title = ""
        self._called = float("-inf")
        self._began = 0.0

    def begin(self, *, again: bool = False) -> None:
        """Set the title once the app is on screen; `again` after another program had the terminal."""
        if again:
            self._write(window_title(self._title))
        else:
            self._say("")

    def focus(self, focused: bool) -> None:
        """Record whether the window has the focus."""
        self._focused = focused

    def apply(self, event: ev.Event) -> None:
        """Handle an event of a turn."""
        match event:
            case ev.TurnStarted():
                self._began = self._clock()
                self._say("…")
            case ev.ApprovalRequest():
                self._say("?")
                self._call(f"waits for your answer: {to_terminal_line(event.title)}")
            case ev.ApprovalResolved():
                self._say("…")
            case ev.TurnFinished():
                self._say("")
                if event.reason != "interrupted":
                    self._call(self._end(event))

    def _end(self, event: ev.TurnFinished) -> str:
        took = seconds(self._clock() - self._began)
        words = {"failed": "failed", "limit": "met its limit"}.get(event.reason, "is done")
        answer = to_terminal_line(event.answer or event.error)
        return f"the turn {words} after {took}" + (f": {answer}" if answer else "")

    def _call(self, text: str) -> None:
        now = self._clock()
        if not self._focused and self._way != "off" and now - self._called >= PAUSE_SECONDS:
            self._called = now
            self._write(call(self._way, _NAME, text))

    def _say(self, mark: str) -> None:
        title = " ".join(part for part in (mark, _NAME, self._place) if part)
        if title != self._title:
            self._title = title
            self._write(window_title(title))
