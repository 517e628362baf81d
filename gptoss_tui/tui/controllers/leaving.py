"""Keys that count when they are pressed twice: Ctrl+C to quit, Esc to go back."""

from __future__ import annotations

from collections.abc import Callable

QUIT_SECONDS = 2.0
REWIND_SECONDS = 1.5
"""How long a first key waits for a second one."""


class TwicePressed:
    """A key that does its work when it is pressed a second time within `seconds`."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self.seconds = seconds
        self._until = float("-inf")

    @property
    def armed(self) -> bool:
        """Whether the first press still counts."""
        return self._clock() < self._until

    def press(self) -> bool:
        """Press the key: True when this is the second press."""
        if self.armed:
            self.disarm()
            return True
        self._until = self._clock() + self.seconds
        return False

    def disarm(self) -> None:
        """Forget the first press."""
        self._until = float("-inf")
