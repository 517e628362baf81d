"""Parked sequences: other conversations whose keys and values are kept while another sequence runs.

A parked sequence consists of its history, the memory of its full layers as the engine handed it over, and the window at
its end. The lot has a budget in the engine's memory and, if the device has its own memory, one in host memory. The
least recently used sequences make room: they move to host memory if it has room, and are forgotten otherwise. This
module does not depend on any array library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gptoss_tui.engine.cache.history import A, History, Sized
from gptoss_tui.engine.cache.prefix import common_prefix

MAX_PARKED = 64
"""Limits the number of sequences, because each is compared with every prompt. Their size is limited in bytes."""

OUT_OF_MEMORY = (MemoryError, RuntimeError)
"""Errors that mean that there is no memory for a copy: numpy's, and those of torch and MLX."""

M = TypeVar("M", bound=Sized)


@dataclass(slots=True, eq=False)
class Parked(Generic[A, M]):
    """A parked sequence: `memory` has its full layers, `window` what its next token sees in the sliding layers.

    `nbytes` is the size of all of it, wherever it is.
    """

    history: History[A]
    memory: M
    window: A
    on_host: bool = False
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        windows = (self.window, *self.history.windows.values())
        self.nbytes = self.memory.nbytes + sum(window.nbytes for window in windows)

    def reach(self, shared: int) -> int:
        """Up to which of the first `shared` tokens the sequence can be continued."""
        return shared if shared == len(self.history.tokens) else self.history.nearest(shared)


class ParkingLot(Generic[A, M]):
    """Parked sequences, the one parked last at the end.

    `to_host` moves one to host memory, where it takes `host_bytes`. `room` and `host_room` are the budgets in bytes;
    both are 0 until `limit` sets them, and then nothing is parked.
    """

    def __init__(self, to_host: Callable[[Parked[A, M]], None], host_bytes: Callable[[Parked[A, M]], int]) -> None:
        self._to_host, self._host_bytes = to_host, host_bytes
        self.room = 0
        self.host_room = 0
        self.entries: list[Parked[A, M]] = []

    def nbytes(self, *, on_host: bool = False) -> int:
        """Bytes parked in the engine's memory, or in host memory."""
        return sum(entry.nbytes for entry in self.entries if entry.on_host == on_host)

    @property
    def is_within(self) -> bool:
        """Whether both budgets are respected."""
        return self.nbytes() <= self.room and self.nbytes(on_host=True) <= self.host_room

    def limit(self, room: int, host_room: int) -> None:
        """Set the budgets; sequences beyond them are moved or forgotten."""
        self.room, self.host_room = room, host_room
        self.settle()

    def holds(self, tokens: Sequence[int]) -> bool:
        """Whether a parked sequence begins with `tokens`."""
        length = len(tokens)
        return any(common_prefix(entry.history.tokens, tokens) == length for entry in self.entries)

    def add(self, entry: Parked[A, M], spared: Parked[A, M] | None = None) -> bool:
        """Park `entry` if it can fit at all. `spared` is not forgotten for it, so `is_within` may become false."""
        self.entries.append(entry)
        if entry.nbytes > self.room and not self._moved(entry, spared):
            self.entries.remove(entry)
            return False
        self.settle(spared, entry)
        return True

    def settle(self, *spared: Parked[A, M] | None) -> None:
        """Move or forget the oldest entries until the budgets are respected; `spared` ones may only be moved."""
        for entry in list(self.entries):
            if self.nbytes() <= self.room:
                break
            if not entry.on_host and not self._moved(entry, *spared) and entry not in spared:
                self.entries.remove(entry)
        for entry in list(self.entries):
            crowded = len(self.entries) > MAX_PARKED
            if self.nbytes(on_host=True) <= self.host_room and not crowded:
                break
            if (entry.on_host or crowded) and entry not in spared:
                self.entries.remove(entry)

    def give_way(self) -> bool:
        """Free the engine's memory of the oldest entry there, for something that needs it now; False without one."""
        entry = next((entry for entry in self.entries if not entry.on_host), None)
        if entry is None:
            return False
        if not self._moved(entry):
            self.entries.remove(entry)
        self.settle()
        return True

    def _moved(self, entry: Parked[A, M], *spared: Parked[A, M] | None) -> bool:
        """Move `entry` to host memory, if there is memory for it. Older entries there make room first."""
        missing = self.nbytes(on_host=True) + self._host_bytes(entry) - self.host_room
        leaving: list[Parked[A, M]] = []
        for older in self.entries[: self.entries.index(entry)]:
            if missing > 0 and older.on_host and older not in spared:
                leaving.append(older)
                missing -= older.nbytes
        if missing > 0:
            return False
        for older in leaving:
            self.entries.remove(older)
        try:
            self._to_host(entry)
        except OUT_OF_MEMORY:
            return False
        entry.on_host = True
        return True
