"""What is known of one sequence beside its keys and values: its tokens, and where its sliding layers can go back to.

Full layers hold every token, so going back is free for them. A sliding layer needs the last `window` - 1 tokens only,
and forgets the others; its keys at a cut depend on the tokens before them through all layers, so they cannot be made
again without running those. Hence snapshots: the newest `window` - 1 keys and values of the sliding layers, taken every
`SNAPSHOT_INTERVAL` tokens, at the places that are marked (ends of prompts, where conversations branch), and at the cut
up to which other conversations begin alike. A snapshot is never written to, so histories that fork share them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

SNAPSHOT_INTERVAL = 1024
"""Tokens. A snapshot of gpt-oss-20b in bfloat16 takes 3.1 MB, an eighth of 1024 tokens in the full layers."""

MAX_MARKS = 16
"""Snapshots kept outside the interval: the newest prompts' ends."""


class Sized(Protocol):
    """What is asked of an array of any library."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        ...


A = TypeVar("A", bound=Sized)


@dataclass(slots=True)
class History(Generic[A]):
    """One sequence. `windows` are snapshots by position; `marks` are those that are not due by the interval.

    `cut` is where the part ends that other conversations begin with too, 0 when nobody said so. `opening` is the length
    of the shortest prompt that the sequence is known to go on from, less the last token: a prompt that shares as much
    goes on with this conversation. None before a prompt was read to its end.
    """

    tokens: list[int] = field(default_factory=list)
    windows: dict[int, A] = field(default_factory=dict)
    marks: deque[int] = field(default_factory=deque)
    cut: int = 0
    opening: int | None = None

    def extend(self, ids: Sequence[int], interval: int, window: Callable[[int], A]) -> None:
        """Add `ids`, and the snapshots due every `interval` tokens; `window` takes one at a position."""
        before = len(self.tokens)
        self.tokens.extend(ids)
        for position in range(before - before % interval + interval, len(self.tokens) + 1, interval):
            self.windows[position] = window(position)

    def mark(self, position: int, window: Callable[[int], A]) -> None:
        """Keep the snapshot at `position`; the newest `MAX_MARKS` of them stay."""
        if position in self.windows:
            return
        self.windows[position] = window(position)
        self.marks.append(position)
        if len(self.marks) > MAX_MARKS:
            del self.windows[self.marks.popleft()]

    def cut_at(self, position: int, window: Callable[[int], A]) -> A:
        """Keep the snapshot at `position` as long as the sequence has that cut; the one of an earlier cut goes."""
        if self.cut != position and self.cut % SNAPSHOT_INTERVAL:
            self.windows.pop(self.cut, None)
        if position in self.marks:
            self.marks.remove(position)
        if position not in self.windows:
            self.windows[position] = window(position)
        self.cut = position
        return self.windows[position]

    def nearest(self, position: int) -> int:
        """The last snapshot's position at or before `position`, 0 without one."""
        return max((taken for taken in self.windows if taken <= position), default=0)

    def truncate(self, position: int) -> None:
        """Forget the tokens from `position` on, and what was known of them."""
        del self.tokens[position:]
        self.windows = {taken: window for taken, window in self.windows.items() if taken <= position}
        self.marks = deque(mark for mark in self.marks if mark <= position)
        if self.cut > position:
            self.cut = 0
        if self.opening is not None and self.opening > position:
            self.opening = None

    def fork(self, position: int) -> History[A]:
        """Another history that begins with the first `position` tokens of this one."""
        other = History(list(self.tokens), dict(self.windows), deque(self.marks), self.cut, self.opening)
        other.truncate(position)
        return other

    def is_continued(self, shared: int) -> bool:
        """Whether a prompt that has the first `shared` tokens in common goes on with this conversation."""
        return shared == len(self.tokens) or (self.opening is not None and shared >= self.opening)
