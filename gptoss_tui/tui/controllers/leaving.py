"""Esc and Ctrl+C: what they stop, and what a second press does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptoss_tui.tui.widgets.composer import Composer

QUIT_SECONDS = 2.0
REWIND_SECONDS = 1.5
"""How long a first press counts."""


class TwicePressed:
    """A key that takes effect when it is pressed a second time within `seconds`."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self.seconds = seconds
        self._until = float("-inf")

    @property
    def armed(self) -> bool:
        """Whether the first press still counts."""
        return self._clock() < self._until

    def press(self) -> bool:
        """Register a press. Returns True if it is the second one."""
        if self.armed:
            self.disarm()
            return True
        self._until = self._clock() + self.seconds
        return False

    def disarm(self) -> None:
        """Forget the first press."""
        self._until = float("-inf")


@dataclass(frozen=True, slots=True)
class Endings:
    """What can be ended: the turn, what the user runs besides it (both return whether there was one), the app."""

    turn: Callable[[], bool]
    beside: Callable[[], bool]
    app: Callable[[], object]
    rewind: Callable[[], object]


class LeavingController:
    """Handles both keys. `hint` updates the hints about keys; `after` calls a function after a number of seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        composer: Composer,
        ends: Endings,
        hint: Callable[[], None],
        after: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.quit_key = TwicePressed(clock, QUIT_SECONDS)
        self.rewind_key = TwicePressed(clock, REWIND_SECONDS)
        self._composer = composer
        self._ends = ends
        self._hint = hint
        self._after = after

    def escape(self) -> None:
        """Stop the running turn. Pressed twice with nothing typed or running: go back to an earlier message."""
        if self._ends.turn() or self._ends.beside() or not self._composer.is_empty:
            self.rewind_key.disarm()
        elif self.rewind_key.press():
            self._ends.rewind()
        else:
            self._after(REWIND_SECONDS, self._hint)
        self._hint()

    def typed(self) -> None:
        """Forget a first Ctrl+C once something is typed."""
        if self.quit_key.armed and not self._composer.is_empty:
            self.quit_key.disarm()
            self._hint()

    def control_c(self) -> None:
        """Stop the turn, or else clear the draft. Pressed twice: end the app."""
        if self.quit_key.press():
            self._ends.app()
            return
        if not self._ends.turn() and not self._composer.is_empty:
            self._composer.set_draft("")
        self._hint()
        self._after(QUIT_SECONDS, self._hint)
