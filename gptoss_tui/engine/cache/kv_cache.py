"""What the engines' KV caches share: one active sequence, and what is kept beside it.

The sequence's history says where it can be rewound to (history.py). Rewinding to a cut that is no longer held means
going to the newest snapshot at or before it and running at most `SNAPSHOT_INTERVAL` - 1 tokens again.

Beside the sequence there are kept prefixes: copies of all keys and values of a few prompt beginnings, such as the
system message for each reasoning effort. And there are parked sequences (parking.py): other conversations, whose
memory was set aside unchanged. `begin` uses whatever covers most of a prompt:

- the sequence itself or a parked one, if the prompt continues its conversation: everything after the cut is dropped;
- a kept prefix or the beginning of another conversation; these are copied, and that conversation stays as it is.

The previous sequence is parked unless little would be lost with it. Only the memory of the full layers changes owner;
the buffer of the sliding layers stays in place, and windows are copied out of it and into it.

Where keys and values are stored is up to the engine: `KVCache` asks the engine for copies and hands them back. This
module imports no numerical library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from gptoss_tui.engine.cache.history import SNAPSHOT_INTERVAL, A, History
from gptoss_tui.engine.cache.parking import OUT_OF_MEMORY, M, Parked, ParkingLot
from gptoss_tui.engine.cache.prefix import common_prefix, prefix_digest
from gptoss_tui.engine.config import ModelConfig

MAX_KEPT = 3
"""How many prefixes are kept beside the sequence: one for each reasoning effort."""

KEPT_TOKENS = 6144
"""Limit for all kept prefixes together, in tokens: 157 MB for gpt-oss-20b in bfloat16."""

SMALL_LOSS = 16
"""A sequence that would lose less than 1 / `SMALL_LOSS` of its tokens is not parked: they are cheap to run again."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[A, M]):
    """A kept prefix: copies of all its keys and values in the full layers, and of its sliding window."""

    digest: str
    full: M
    window: A


@dataclass(frozen=True, slots=True)
class _Source(Generic[A, M]):
    """Where the first `reach` tokens of a prompt can come from: a kept prefix, a parked sequence, or else the sequence.

    `continues`: the prompt continues the conversation of that source.
    """

    reach: int
    continues: bool
    parked: Parked[A, M] | None = None
    kept: tuple[int, ...] | None = None


class KVCache(ABC, Generic[A, M]):
    """Room for `context` tokens. Copies are arrays of type A; the memory of the full layers is handed over as an M.

    For each chunk call `reserve`, write its keys and values, then call `commit`. What was not committed is overwritten
    by the next chunk.
    """

    def __init__(self, config: ModelConfig, context: int) -> None:
        self.context = context
        self.parking: ParkingLot[A, M] = ParkingLot(self._to_host, self._host_bytes)
        self._past = config.sliding_window - 1
        self._history: History[A] = History()
        self._kept: dict[tuple[int, ...], _Kept[A, M]] = {}  # most recently used last

    @property
    def tokens(self) -> list[int]:
        """The tokens held."""
        return self._history.tokens

    @property
    def length(self) -> int:
        """The number of tokens held."""
        return len(self._history.tokens)

    @property
    def kept(self) -> tuple[str, ...]:
        """Digests of the kept prefixes, most recently used last."""
        return tuple(prefix.digest for prefix in self._kept.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, snapshots and kept prefixes, shared arrays counted once. Without parked sequences."""
        kept = self._kept.values()
        windows = (*self._history.windows.values(), *(prefix.window for prefix in kept))
        once = {id(window): window.nbytes for window in windows}
        return self._buffer_bytes() + sum(prefix.full.nbytes for prefix in kept) + sum(once.values())

    @abstractmethod
    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens` (at most the longest chunk, within the context)."""

    def commit(self, ids: Sequence[int]) -> None:
        """Add `ids` to the sequence, after they went through all layers."""
        self._history.extend(ids, SNAPSHOT_INTERVAL, self._window)

    def mark(self, position: int, *, opens: bool = False) -> None:
        """Make rewinding to `position`, in the chunk committed last, free. Only the newest few marks are kept.

        `opens`: a prompt ends there, and any prompt that begins with it continues this conversation.
        """
        history = self._history
        history.mark(position, self._window)
        if opens and (history.opening is None or position < history.opening):
            history.opening = position

    def keep(self, position: int) -> None:
        """Keep the tokens before `position`: the end of the chunk committed last, or a prefix that is kept already.

        The least recently used prefixes make room. A prefix is not kept if it is longer than the limit, if its window
        is gone, or if there is no memory for it; but rewinding to that cut stays free as long as the sequence, or one
        forked from it, still has it.
        """
        prefix = tuple(self.tokens[:position])
        if (known := self._kept.pop(prefix, None)) is None:
            if position == 0 or not self._holds_window(position):
                return
            window = self._history.cut_at(position, self._window)
            if position > KEPT_TOKENS:
                return
            while len(self._kept) >= MAX_KEPT or sum(map(len, self._kept)) + position > KEPT_TOKENS:
                del self._kept[next(iter(self._kept))]
            try:
                full = self._full_copy(position)
            except OUT_OF_MEMORY:
                return
            known = _Kept(prefix_digest(prefix), full, window)
        self._kept[prefix] = known

    def begin(self, prompt: Sequence[int]) -> int:
        """Turn the sequence into the longest known prefix of `prompt`, at most all but its last token.

        Returns the length of the sequence.
        """
        history, most = self._history, len(prompt) - 1
        shared = min(common_prefix(history.tokens, prompt), most)
        reach = shared if self._holds_window(shared) else history.nearest(shared)
        mine: _Source[A, M] = _Source(reach, history.is_continued(shared))
        source = max((mine, *self._others(prompt, most)), key=lambda known: (known.reach, known.continues))
        if source is mine and (mine.continues or not self._is_worth_parking(shared)):
            self._go_back(shared, mine.continues)
            return self.length
        self._make_way(source, shared)
        return self.length

    def put_aside(self) -> None:
        """Leave the sequence empty; the old one is parked if that is worth it."""
        parked = self._detached() if self._is_worth_parking(0) else None
        if parked is not None:
            self.parking.add(parked)
        self.rewind(0)

    def rewind(self, position: int) -> int:
        """Forget the tokens from `position` on, or from as little as possible before it.

        Returns how many tokens are still held, at most `position`: the caller runs the rest again.
        """
        if not 0 <= position <= self.length:
            raise ValueError(f"cannot rewind {self.length} tokens to {position}")
        if not self._holds_window(position):
            position = self._history.nearest(position)
            self._put_window(position, self._history.windows.get(position))
        self._history.truncate(position)
        return position

    def clear(self) -> None:
        """Forget everything."""
        self.rewind(0)
        self._kept.clear()
        self.parking.entries.clear()

    def _others(self, prompt: Sequence[int], most: int) -> Iterator[_Source[A, M]]:
        """The parts of `prompt` that are known outside of the sequence."""
        for prefix in self._kept:
            if len(prefix) <= most and common_prefix(prefix, prompt) == len(prefix):
                yield _Source(len(prefix), False, kept=prefix)
        for parked in self.parking.entries:
            shared = min(common_prefix(parked.history.tokens, prompt), most)
            yield _Source(parked.reach(shared), parked.history.is_continued(shared), parked)

    def _is_worth_parking(self, shared: int) -> bool:
        """Whether much would be lost if all but the first `shared` tokens of the sequence were forgotten."""
        lot, length = self.parking, self.length
        if not (lot.room or lot.host_room) or (length - shared) * SMALL_LOSS < length:
            return False
        known = any(common_prefix(prefix, self.tokens) == length for prefix in self._kept)
        return length > 0 and not known and not lot.holds(self.tokens)

    def _go_back(self, position: int, continues: bool) -> None:
        """Rewind; if the conversation continues, it keeps its opening prompt."""
        opening = self._history.opening
        self.rewind(position)
        if continues:
            self._history.opening = opening

    def _make_way(self, source: _Source[A, M], shared: int) -> None:
        """Replace the sequence with `source`, parking it unless little is lost beyond its first `shared` tokens."""
        lot, target = self.parking, source.parked
        if target is not None and source.continues:
            lot.entries.remove(target)
        copied = source.reach if target is None and source.kept is None else 0
        mine = self._detached(copied) if self._is_worth_parking(shared) else None
        if mine is not None and not lot.add(mine, spared=target):
            if target is None and source.kept is None:
                self._attach(mine)
            mine = None
        if source.kept is not None:
            self._put_kept(source.kept)
        elif target is not None:
            if not source.continues and not lot.is_within:  # there is no room for both it and the sequence
                lot.entries.remove(target)
            self._take(target, source.reach, continues=source.continues)
        elif mine is not None:
            self._copy_beginning(mine, source.reach)
        else:
            self._go_back(shared, continues=False)

    def _take(self, target: Parked[A, M], reach: int, *, continues: bool) -> None:
        """Load the first `reach` tokens of a parked sequence, taking over its memory if it has left the lot."""
        self.rewind(0)
        if target in self.parking.entries:
            self._copy_beginning(target, reach)
            return
        try:
            self._attach(target)
        except BaseException:
            self.parking.add(target)
            raise
        self._go_back(reach, continues)

    def _detached(self, copied: int = 0) -> Parked[A, M] | None:
        """Detach the sequence from the cache. Returns None, leaving it, if there is no memory for the copies needed.

        The first `copied` tokens can be copied from it later: there is a snapshot at that position.
        """
        try:
            if copied:
                self.mark(copied)
            window = self._window(self.length)
            parked = Parked(self._history, self._take_full(), window)
        except OUT_OF_MEMORY:
            return None
        self._history = History()
        self._put_window(0, None)
        return parked

    def _attach(self, parked: Parked[A, M]) -> None:
        """Restore a parked sequence into the empty cache. On failure it stays parked and the sequence stays empty."""
        self._put_window(len(parked.history.tokens), parked.window)
        self._give_full(len(parked.history.tokens), parked.memory)
        self._history = parked.history

    def _copy_beginning(self, parked: Parked[A, M], reach: int) -> None:
        """Copy the first `reach` tokens into the empty sequence; `reach` is 0 or has a snapshot."""
        if reach:
            self._put_full(reach, parked.memory)
            self._put_window(reach, parked.history.windows[reach])
            self._history = parked.history.fork(reach)

    def _put_kept(self, prefix: tuple[int, ...]) -> None:
        """Replace the sequence with a copy of a kept prefix."""
        self.rewind(0)
        state = self._kept[prefix] = self._kept.pop(prefix)
        self._put_full(len(prefix), state.full)
        self._put_window(len(prefix), state.window)
        self._history = History(list(prefix), {len(prefix): state.window}, cut=len(prefix))

    @abstractmethod
    def _buffer_bytes(self) -> int:
        """Bytes of the sequence's own memory."""

    @abstractmethod
    def _holds_window(self, position: int) -> bool:
        """Whether the sliding layers still hold everything that the token at `position` attends to there."""

    @abstractmethod
    def _window(self, position: int) -> A:
        """A copy of what the token at `position`, which must be held, attends to in the sliding layers."""

    @abstractmethod
    def _put_window(self, position: int, window: A | None) -> None:
        """Make the sliding layers end before `position`, with a copy from `_window`; None if nothing precedes it."""

    @abstractmethod
    def _full_copy(self, position: int) -> M:
        """A copy of exactly the first `position` tokens in the full layers."""

    @abstractmethod
    def _put_full(self, position: int, memory: M) -> None:
        """Copy the first `position` tokens of `memory` to the beginning of the full layers."""

    @abstractmethod
    def _take_full(self) -> M:
        """Hand over the sequence's memory in the full layers. What remains is for another sequence.

        If most of it is unused, hands over a copy of the used part. On failure everything stays as it was.
        """

    @abstractmethod
    def _give_full(self, length: int, memory: M) -> None:
        """Take over `memory` with `length` tokens, from `_take_full`. On failure `memory` stays as it was."""

    def _to_host(self, parked: Parked[A, M]) -> None:
        """Move a parked sequence to host memory, for devices with their own memory. On failure nothing changes."""
        raise NotImplementedError

    def _host_bytes(self, parked: Parked[A, M]) -> int:
        """Bytes that it will take in host memory."""
        return parked.nbytes
