"""When to repaint: one timer for everything that moves, stopped when nothing does.

The rate adapts between 8 and 30 frames a second, so that painting and what it causes use a small share of a core.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time

from textual.timer import Timer

MAX_RATE = 30
MIN_RATE = 8
SHARE = 8
"""A frame that took t seconds of CPU time is followed by a pause of SHARE * t."""
TICK_SECONDS = 0.12


def pause_after(cost: float) -> float:
    """The time from one repaint to the next, given that a repaint takes `cost` (both in seconds)."""
    return min(1 / MIN_RATE, max(1 / MAX_RATE, SHARE * cost))


class FrameClock:
    """Calls `draw` at an adaptive rate and `tick` for spinners, while something is running.

    The cost of a frame is measured at the next beat, because the screen is painted after `draw` has returned.
    """

    def __init__(self, draw: Callable[[], None], tick: Callable[[], None]) -> None:
        self._draw = draw
        self._tick = tick
        self._timer: Timer | None = None
        self._drawn = 0.0
        self._spent: float | None = None
        self._next_tick = 0.0
        self._cost = 0.0

    def attach(self, timer: Timer) -> None:
        """Use `timer`, which must be paused and fire MAX_RATE times a second."""
        self._timer = timer

    def start(self) -> None:
        """Start the beats: something moves from now on."""
        if self._timer is not None:
            self._timer.resume()

    def stop(self) -> None:
        """Stop the beats and draw what is left."""
        if self._timer is not None:
            self._timer.pause()
        self._spent = None
        self._draw()

    def frame(self) -> None:
        """Handle one beat of the timer."""
        now = perf_counter()
        if self._spent is not None:
            self._cost = 0.7 * self._cost + 0.3 * (thread_time() - self._spent)
            self._spent = None
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._tick()
        if now - self._drawn >= pause_after(self._cost) - 0.5 / MAX_RATE:  # beats are never quite on time
            self._drawn, self._spent = now, thread_time()
            self._draw()
