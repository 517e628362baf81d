"""Which keys the bottom row names: those that do something now, the most important ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gptoss_tui.tui.widgets.hints import Hint

Label = Callable[[str], str]
"""Maps a binding's id to its key as people write it; empty when it has none."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The state that decides which hints are shown.

    `choosing` is what the completion offers, `beside` whether a command of the user runs, `vim` the mode of the
    composer's Vim keys.
    """

    running: bool = False
    asking: bool = False
    following: bool = True
    quit_armed: bool = False
    rewind_armed: bool = False
    choosing: Literal["", "command", "file"] = ""
    beside: bool = False
    vim: str = ""


def hints_for(situation: Situation, label: Label) -> tuple[Hint, ...]:
    """The hints for a situation, with keys from `label`; actions without a key are left out."""
    found = [(situation.vim, "", "")] if situation.vim else []
    for name, what, action in _wanted(situation):
        keys = "/".join(key for key in map(label, name.split()) if key)
        if keys:
            found.append((_joined(keys), what, action))
    return tuple(found)


def _wanted(situation: Situation) -> Iterator[tuple[str, str, str]]:
    if situation.quit_armed:
        yield "chat.copy", "again to quit", "app.quit"
        return
    if situation.rewind_armed:
        yield "chat.interrupt", "again to go back to an earlier message", "screen.interrupt"
        return
    if situation.choosing:
        yield "composer.up composer.down", "choose", "app.simulate_key('down')"
        yield "composer.later", "take", "app.simulate_key('tab')"
        what = "take and run" if situation.choosing == "command" else "take"
        yield "composer.submit", what, "app.simulate_key('enter')"
        yield "chat.interrupt", "close", "app.simulate_key('escape')"
        return
    if not situation.following:
        yield "chat.tail", "newest", "screen.to_tail"
    if not situation.asking:
        if situation.running or situation.beside:
            stop = "chat.copy" if situation.vim not in ("", "NORMAL") else "chat.interrupt"  # Esc is Vim's there
            yield stop, "stop", "screen.interrupt"
        if situation.running:
            yield "composer.submit", "steer", "screen.send"
            yield "composer.later", "queue", "screen.send_later"
        else:
            yield "composer.submit", "send", "screen.send"
    yield "chat.help", "keys", "screen.help"
    yield "chat.palette", "commands", "screen.palette"
    yield "chat.effort_down chat.effort_up", "effort", "screen.cycle_effort"
    yield "chat.mode", "mode", "screen.cycle_mode"
    yield "chat.reasoning", "reasoning", "screen.toggle_reasoning"
    yield "chat.details", "details", "screen.toggle_details"
    yield "chat.new", "new", "screen.new_conversation"
    yield "app.quit", "quit", "app.quit"


def _joined(keys: str) -> str:
    """Shorten `Alt+,/Alt+.` to `Alt+,/.`."""
    first, slash, second = keys.partition("/")
    modifier = first[: first.rfind("+") + 1]
    return first + slash + second.removeprefix(modifier) if slash and modifier else keys
