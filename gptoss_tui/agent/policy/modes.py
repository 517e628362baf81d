"""The four approval modes, strictest first: how much the model may do without asking."""

from __future__ import annotations

from typing import Final, get_args

from gptoss_tui.settings import Mode

__all__ = ["MODES", "MODE_MEANINGS", "Mode", "stricter", "up_to"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)

MODE_MEANINGS: Final[dict[Mode, str]] = {
    "read-only": "plan: nothing is changed",
    "ask": "asks before it changes or runs anything",
    "auto-edit": "edits in the workspace are allowed, everything else asks",
    "full-auto": "what runs in a sandbox is allowed too, everything else asks",
}


def stricter(left: Mode, right: Mode) -> Mode:
    """The stricter of two modes."""
    return min(left, right, key=MODES.index)


def up_to(cap: Mode) -> tuple[Mode, ...]:
    """The modes that allow no more than `cap`."""
    return MODES[: MODES.index(cap) + 1]
