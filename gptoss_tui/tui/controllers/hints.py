"""Which keys the last row names: those that do something now, the most important ones first."""

from __future__ import annotations

from dataclasses import dataclass

from gptoss_tui.tui.widgets.hints import Hint

_COMMON: tuple[Hint, ...] = (
    ("Alt+,/. Ctrl+T", "effort", "screen.cycle_effort"),
    ("F1", "help", "screen.help"),
    ("F2", "reasoning", "screen.toggle_reasoning"),
    ("Ctrl+L", "new", "screen.new_conversation"),
    ("Ctrl+Q", "quit", "app.quit"),
    ("Ctrl+O", "details", "screen.toggle_details"),
)
_IDLE: tuple[Hint, ...] = (("Enter", "send", "screen.send"),)
_BUSY: tuple[Hint, ...] = (("Esc", "stop", "screen.interrupt"), ("Enter", "queue", "screen.send"))
_TAIL: Hint = ("Ctrl+End", "newest", "screen.to_tail")
_QUIT: tuple[Hint, ...] = (("Ctrl+C", "again to quit", "app.quit"),)


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides about the hints."""

    running: bool = False
    asking: bool = False
    following: bool = True
    quit_armed: bool = False


def hints_for(situation: Situation) -> tuple[Hint, ...]:
    """The hints of a situation."""
    if situation.quit_armed:
        return _QUIT
    first: tuple[Hint, ...] = () if situation.asking else _BUSY if situation.running else _IDLE
    tail = () if situation.following else (_TAIL,)
    return (*tail, *first, *_COMMON)
