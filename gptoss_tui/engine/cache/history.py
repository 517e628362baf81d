"""What is known about a sequence apart from its keys and values: its tokens, and where it can be rewound to.

Full layers hold every token, so they can be rewound for free. A sliding layer needs only the last `window` - 1 tokens
and forgets the others. Its keys before a cut depend on earlier tokens through all layers, so they cannot be recovered
without running those again. Hence snapshots: the newest `window` - 1 keys and values of the sliding layers, taken every
`SNAPSHOT_INTERVAL` tokens, at marked positions (ends of prompts, where conversations branch), and at the cut up to
which other conversations share the beginning. Snapshots are never modified, so forked histories share them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

SNAPSHOT_INTERVAL = 1024
"""Tokens. A snapshot of gpt-oss-20b in bfloat16 takes 3.1 MB, an eighth of what 1024 tokens take in the full layers."""

MAX_MARKS = 16
"""Number of snapshots kept in addition to the regular ones: at the ends of the newest prompts."""


class Sized(Protocol):
    """What is required of an array of any library."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        ...


A = TypeVar("A", bound=Sized)


@dataclass(slots=True)
class History(Generic[A]):
    """One sequence. `windows` maps positions to snapshots; `marks` are the positions that are not due by the interval.

    `cut` is the end of the part that other conversations share, 0 if unknown. `opening` is the length of the shortest
    prompt that this sequence is known to continue, less the last token: a prompt that shares at least that much
    continues this conversation. It is None until a prompt was read to its end.
    """

    tokens: list[int] = field(default_factory=list)
    windows: dict[int, A] = field(default_factory=dict)
    marks: deque[int] = field(default_factory=deque)
    cut: int = 0
    opening: int | None = None

    def extend(self, ids: Sequence[int], interval: int, window: Callable[[int], A]) -> None:
        """Add `ids`, and the snapshots due every `interval` tokens; `window` takes the snapshot at a position."""
        before = len(self.tokens)
        self.tokens.extend(ids)
        for position in range(before - before % interval + interval, len(self.tokens) + 1, interval):
            self.windows[position] = window(position)

    def mark(self, position: int, window: Callable[[int], A]) -> None:
        """Keep a snapshot at `position`; only the newest `MAX_MARKS` of these stay."""
        if position in self.windows:
            return
        self.windows[position] = window(position)
        self.marks.append(position)
        if len(self.marks) > MAX_MARKS:
            del self.windows[self.marks.popleft()]

    def cut_at(self, position: int, window: Callable[[int], A]) -> A:
        """Keep a snapshot at `position` as long as the sequence has that cut; the one of an earlier cut is dropped."""
        if self.cut != position and self.cut % SNAPSHOT_INTERVAL:
            self.windows.pop(self.cut, None)
        if position in self.marks:
            self.marks.remove(position)
        if position not in self.windows:
            self.windows[position] = window(position)
        self.cut = position
        return self.windows[position]

    def nearest(self, position: int) -> int:
        """The position of the last snapshot at or before `position`, 0 if there is none."""
        return max((taken for taken in self.windows if taken <= position), default=0)

    def truncate(self, position: int) -> None:
        """Forget the tokens from `position` on and everything known about them."""
        del self.tokens[position:]
        self.windows = {taken: window for taken, window in self.windows.items() if taken <= position}
        self.marks = deque(mark for mark in self.marks if mark <= position)
        if self.cut > position:
            self.cut = 0
        if self.opening is not None and self.opening > position:
            self.opening = None

    def fork(self, position: int) -> History[A]:
        """A new history with the first `position` tokens of this one."""
        other = History(self.tokens[:position], self.windows, self.marks, self.cut, self.opening)
        other.truncate(position)  # which makes windows and marks of its own
        return other

    def is_continued(self, shared: int) -> bool:
        """Whether a prompt that shares the first `shared` tokens continues this conversation."""
        return shared == len(self.tokens) or (self.opening is not None and shared >= self.opening)
