"""Handles the signals that end a turn of `exec` gracefully."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_ENDING_SIGNALS: Final = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)


@contextmanager
def interrupted_by_signals(interrupt_turn: Callable[[], None]) -> Iterator[list[int]]:
    """Interrupt the turn gracefully on the first Ctrl+C, SIGHUP or SIGTERM; the second, of any kind, ends the process.

    A graceful end gives a sandbox time to hold back what a running command has made. Yields a list, to which the
    received signal is added if it is not Ctrl+C.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    handled = [number for number in before if before[number] != signal.SIG_IGN]  # nohup ignores SIGHUP, for example
    told: list[int] = []

    def interrupt(first: int) -> None:
        for number in handled:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        if first != signal.SIGINT:
            told.append(first)
        interrupt_turn()

    try:
        for number in handled:
            loop.add_signal_handler(number, interrupt, number)
    except (NotImplementedError, RuntimeError):  # Windows, or not the main thread
        yield told
        return
    try:
        yield told
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
