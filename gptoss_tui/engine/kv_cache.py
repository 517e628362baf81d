"""What the engines' caches of keys and values share: one sequence that runs, and what waits beside it.

The sequence's history says where it can go back to (engine/history.py). Going back to a cut that is no longer held
means the newest snapshot at or before it, and running at most `SNAPSHOT_INTERVAL` - 1 tokens again.

Beside it stand kept prefixes: copies of all keys and values of a few beginnings, such as the system message for each
reasoning effort. And there are parked sequences (engine/parking.py): other conversations, whose memory was put aside as
it was. `begin` takes whatever has most of a prompt:

- the sequence itself, or a parked one, where the prompt goes on with its conversation: what is behind the cut goes;
- a kept prefix, or the beginning of another conversation, which are copied: that conversation stays as it is.

The sequence that was there before is parked unless little would be lost with it. Only the memory of the full layers
changes hands; the sliding layers' stays where it is, and a window is copied out of it and into it.

Where the keys and values lie is up to the engine: `KVCache` asks it for copies and hands them back. Nothing here
imports a library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.history import SNAPSHOT_INTERVAL, A, History
from gptoss_tui.engine.parking import OUT_OF_MEMORY, M, Parked, ParkingLot
from gptoss_tui.engine.prefix import common_prefix, prefix_digest

MAX_KEPT = 3
"""Prefixes beside the sequence: one for each reasoning effort."""

KEPT_TOKENS = 6144
"""Tokens of all kept prefixes together: 157 MB for gpt-oss-20b in bfloat16."""

SMALL_LOSS = 16
"""A sequence of which less than one part in so many would be lost is not parked: reading that again costs little."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[A, M]):
    """A beginning of a sequence: copies of all its keys and values in the full layers, and of the sliding window."""

    digest: str
    full: M
    window: A


@dataclass(frozen=True, slots=True)
class _Source(Generic[A, M]):
    """What has the first `reach` tokens of a prompt: a kept prefix, a parked sequence, or without either the sequence.

    `continues`: the prompt goes on with its conversation.
    """

    reach: int
    continues: bool
    parked: Parked[A, M] | None = None
    kept: tuple[int, ...] | None = None


class KVCache(ABC, Generic[A, M]):
    """Room for `context` tokens; copies are arrays of type A, the memory of full layers changes hands as an M.

    A chunk goes `reserve`, whatever writes its keys and values, `commit`; what was not committed is overwritten by the
    next one.
    """

    def __init__(self, config: ModelConfig, context: int) -> None:
        self.context = context
        self.parking: ParkingLot[A, M] = ParkingLot(self._to_host, self._host_bytes)
        self._past = config.sliding_window - 1
        self._history: History[A] = History()
        self._kept: dict[tuple[int, ...], _Kept[A, M]] = {}  # the one used last stands at the end

    @property
    def tokens(self) -> list[int]:
        """The tokens held."""
        return self._history.tokens

    @property
    def length(self) -> int:
        """How many they are."""
        return len(self._history.tokens)

    @property
    def kept(self) -> tuple[str, ...]:
        """Digests of the kept prefixes, the one used last at the end."""
        return tuple(prefix.digest for prefix in self._kept.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, snapshots and kept prefixes; what serves twice counts once. Without what is parked."""
        kept = self._kept.values()
        windows = (*self._history.windows.values(), *(prefix.window for prefix in kept))
        once = {id(window): window.nbytes for window in windows}
        return self._buffer_bytes() + sum(prefix.full.nbytes for prefix in kept) + sum(once.values())

    @property
    @abstractmethod
    def bytes_per_token(self) -> int:
        """What a further token adds: its keys and values in the full layers."""

    @abstractmethod
    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens` (at most the longest chunk, within the context)."""

    def commit(self, ids: Sequence[int]) -> None:
        """The tokens `ids` went through all layers: they are part of the sequence now."""
        self._history.extend(ids, SNAPSHOT_INTERVAL, self._window)

    def mark(self, position: int, *, opens: bool = False) -> None:
        """Make coming back to `position`, in the chunk committed last, free. The newest few marks are kept.

        `opens`: a prompt ends there, and who begins with it goes on with this conversation.
        """
        history = self._history
        history.mark(position, self._window)
        if opens and (history.opening is None or position < history.opening):
            history.opening = position

    def keep(self, position: int) -> None:
        """Keep the tokens before `position`, where the chunk committed last ends or which are kept already.

        Prefixes that were not used for longest make room. One that is longer than all the room is not kept, nor is one
        whose window is gone, or for which memory is not to be had; but coming back to that cut is free while the
        sequence, or who forked from it, has it.
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
        """Make the sequence the longest beginning of `prompt` that is known, less its last token; its length."""
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
        """End with nothing in the sequence; it is parked, if that is worth it."""
        parked = self._detached() if self._is_worth_parking(0) else None
        if parked is not None:
            self.parking.add(parked)
        self.rewind(0)

    def rewind(self, position: int) -> int:
        """Forget the tokens from `position` on, or from as little before it as can be done.

        Returns the tokens still held, at most `position`: the caller runs the rest again.
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
        """What there is of `prompt` beside the sequence."""
        for prefix in self._kept:
            if len(prefix) <= most and common_prefix(prefix, prompt) == len(prefix):
                yield _Source(len(prefix), False, kept=prefix)
        for parked in self.parking.entries:
            shared = min(common_prefix(parked.history.tokens, prompt), most)
            yield _Source(parked.reach(shared), parked.history.is_continued(shared), parked)

    def _is_worth_parking(self, shared: int) -> bool:
        """Whether much would be lost of the sequence when all but its first `shared` tokens were forgotten."""
        lot, length = self.parking, self.length
        if not (lot.room or lot.host_room) or (length - shared) * SMALL_LOSS < length:
            return False
        known = any(common_prefix(prefix, self.tokens) == length for prefix in self._kept)
        return length > 0 and not known and not lot.holds(self.tokens)

    def _go_back(self, position: int, continues: bool) -> None:
        """Rewind; a conversation that goes on is known by the same prompt as before."""
        opening = self._history.opening
        self.rewind(position)
        if continues:
            self._history.opening = opening

    def _make_way(self, source: _Source[A, M], shared: int) -> None:
        """Park the sequence, unless little is lost beyond its first `shared` tokens, and have `source` in its place."""
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
            if not source.continues and not lot.is_within:  # no room for it and for the sequence
                lot.entries.remove(target)
            self._take(target, source.reach, continues=source.continues)
        elif mine is not None:
            self._copy_beginning(mine, source.reach)
        else:
            self._go_back(shared, continues=False)

    def _take(self, target: Parked[A, M], reach: int, *, continues: bool) -> None:
        """Have the first `reach` tokens of a parked sequence, and its memory too if it left the lot."""
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
        """Take the sequence out; None, and it stays, where there is no memory for what has to be copied.

        The first `copied` tokens can be copied from it: there is a snapshot at that place.
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
        """Have what was parked in place of nothing. What fails leaves it parked, and the sequence empty."""
        self._put_window(len(parked.history.tokens), parked.window)
        self._give_full(len(parked.history.tokens), parked.memory)
        self._history = parked.history

    def _copy_beginning(self, parked: Parked[A, M], reach: int) -> None:
        """Have a copy of the first `reach` tokens, where there is a snapshot or nothing, in place of nothing."""
        if reach:
            self._put_full(reach, parked.memory)
            self._put_window(reach, parked.history.windows[reach])
            self._history = parked.history.fork(reach)

    def _put_kept(self, prefix: tuple[int, ...]) -> None:
        """Have a kept prefix in place of the sequence."""
        self.rewind(0)
        state = self._kept[prefix] = self._kept.pop(prefix)
        self._put_full(len(prefix), state.full)
        self._put_window(len(prefix), state.window)
        self._history = History(list(prefix), {len(prefix): state.window}, cut=len(prefix))

    @abstractmethod
    def _buffer_bytes(self) -> int:
        """Bytes of the memory of the sequence itself."""

    @abstractmethod
    def _holds_window(self, position: int) -> bool:
        """Whether the sliding layers still hold what the token at `position` sees there."""

    @abstractmethod
    def _window(self, position: int) -> A:
        """A copy of what the token at `position`, which is held, sees in the sliding layers."""

    @abstractmethod
    def _put_window(self, position: int, window: A | None) -> None:
        """Make the sliding layers end before `position` with what `_window` gave; None where nothing is before it."""

    @abstractmethod
    def _full_copy(self, position: int) -> M:
        """A copy of the first `position` tokens in the full layers, and no more."""

    @abstractmethod
    def _put_full(self, position: int, memory: M) -> None:
        """Copy the first `position` tokens of `memory` to the beginning of the full layers."""

    @abstractmethod
    def _take_full(self) -> M:
        """Hand over the memory of the sequence in the full layers. What is left is for another sequence.

        Where most of it is not in use, a copy of what is. What fails leaves it as it was.
        """

    @abstractmethod
    def _give_full(self, length: int, memory: M) -> None:
        """Have `memory` with `length` tokens, which `_take_full` handed over. What fails leaves `memory` as it was."""

    def _to_host(self, parked: Parked[A, M]) -> None:
        """Move what is parked to the machine's memory, for engines that have another. What fails changes nothing."""
        raise NotImplementedError

    def _host_bytes(self, parked: Parked[A, M]) -> int:
        """What it will take there."""
        return parked.nbytes
