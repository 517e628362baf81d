"""When a key press may answer a question."""

from __future__ import annotations

from collections.abc import Callable

GRACE_SECONDS = 0.3


class KeyGrace:
    """A grace period: a question must be visible for `GRACE_SECONDS` first, and a key that comes too early restarts it.

    What counts is the time at which a key was pressed, not when the app read it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the question is on screen."""
        return self._since is not None

    def hidden(self) -> None:
        """The question is not visible, so no key counts."""
        self._since = None

    def shown(self) -> None:
        """The question is visible from now on; the period starts."""
        self._since = self._clock()

    def accepts(self, pressed: float | None = None) -> bool:
        """Whether a key pressed at `pressed` (default: now) counts. If it comes too early, the period starts again."""
        now = self._clock()
        if self._since is None:
            return False
        if (now if pressed is None else min(pressed, now)) - self._since >= GRACE_SECONDS:
            return True
        self._since = now
        return False
