"""When a key may answer a question."""

from __future__ import annotations

from collections.abc import Callable

GRACE_SECONDS = 0.3


class KeyGrace:
    """Whether a key may answer: not before `GRACE_SECONDS` on screen, nor within that time of a key that did not.

    What counts is when a key was pressed, not when the app came to read it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the question is on screen."""
        return self._since is not None

    def hidden(self) -> None:
        """Nothing is shown: no key counts."""
        self._since = None

    def shown(self) -> None:
        """The question is on screen from now on."""
        self._since = self._clock()

    def accepts(self, pressed: float | None = None) -> bool:
        """Ask for a key that was pressed at `pressed`, or just now. One that comes too early starts the time again."""
        now = self._clock()
        if self._since is None:
            return False
        if (now if pressed is None else min(pressed, now)) - self._since >= GRACE_SECONDS:
            return True
        self._since = now
        return False
