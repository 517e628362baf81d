"""What the engines' caches of keys and values share: the history of one sequence, kept between requests.

Full layers hold every token, so going back (`rewind`) is free for them. A sliding layer needs the last `window` - 1
tokens only, and forgets the others; its keys at a cut depend on the tokens before them through all layers, so they
cannot be made again without running those. Hence snapshots: the newest `window` - 1 keys and values of the sliding
layers, taken every `SNAPSHOT_INTERVAL` tokens and at the places that `mark` names (ends of prompts, where conversations
branch). Going back to a cut that is no longer held means the newest snapshot at or before it, and running at most
`SNAPSHOT_INTERVAL` - 1 tokens again.

Beside the sequence stand kept prefixes: copies of all keys and values of a few beginnings, such as the system message
for each reasoning effort. `restore` puts one in place of the sequence.

Where the keys and values lie is up to the engine: `KVCache` asks it for copies and hands them back. `LinearKVCache` is
for those that keep them in arrays of one library, positions in order. Nothing here imports such a library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.prefix import common_prefix, prefix_digest

SNAPSHOT_INTERVAL = 1024
"""Tokens. A snapshot of gpt-oss-20b in bfloat16 takes 3.1 MB, an eighth of 1024 tokens in the full layers."""

MAX_MARKS = 16
"""Snapshots kept outside the interval: the newest prompts' ends."""

MAX_KEPT = 3
"""Prefixes beside the sequence: one for each reasoning effort."""

KEPT_TOKENS = 6144
"""Tokens of all kept prefixes together: 157 MB for gpt-oss-20b in bfloat16."""


class Array(Protocol):
    """What is asked of an array of any library."""

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        ...


A = TypeVar("A", bound=Array)


@dataclass(frozen=True, slots=True)
class _Kept(Generic[A]):
    """A beginning of a sequence: copies of all its keys and values in the full layers, and of the sliding window."""

    digest: str
    full: A
    window: A


class KVCache(ABC, Generic[A]):
    """Room for `context` tokens; copies are arrays of type A.

    A chunk goes `reserve`, whatever writes its keys and values, `commit`; what was not committed is overwritten by the
    next one.
    """

    def __init__(self, config: ModelConfig, context: int) -> None:
        self.context = context
        self.tokens: list[int] = []
        self._past = config.sliding_window - 1
        self._snapshots: dict[int, A] = {}  # position to the window before it
        self._marks: deque[int] = deque()  # positions whose snapshot is not due by the interval
        self._kept: dict[tuple[int, ...], _Kept[A]] = {}  # the one used last stands at the end

    @property
    def length(self) -> int:
        """Tokens held."""
        return len(self.tokens)

    @property
    def kept(self) -> tuple[str, ...]:
        """Digests of the kept prefixes, the one used last at the end."""
        return tuple(prefix.digest for prefix in self._kept.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, snapshots and kept prefixes; what serves twice counts once."""
        kept = (array for prefix in self._kept.values() for array in (prefix.full, prefix.window))
        arrays = {id(array): array.nbytes for array in (*self._buffers(), *self._snapshots.values(), *kept)}
        return sum(arrays.values())

    @property
    @abstractmethod
    def bytes_per_token(self) -> int:
        """What a further token adds: its keys and values in the full layers."""

    @abstractmethod
    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens` (at most the longest chunk, within the context)."""

    def commit(self, ids: Sequence[int]) -> None:
        """The tokens `ids` went through all layers: they are part of the sequence now."""
        before = self.length
        self.tokens.extend(ids)
        first = before - before % SNAPSHOT_INTERVAL + SNAPSHOT_INTERVAL
        for position in range(first, self.length + 1, SNAPSHOT_INTERVAL):
            self._snapshots[position] = self._window(position)

    def mark(self, position: int) -> None:
        """Make coming back to `position`, in the chunk committed last, free. The newest `MAX_MARKS` marks are kept."""
        if position in self._snapshots:
            return
        self._snapshots[position] = self._window(position)
        self._marks.append(position)
        if len(self._marks) > MAX_MARKS:
            del self._snapshots[self._marks.popleft()]

    def keep(self, position: int) -> None:
        """Keep the tokens before `position`, where the chunk committed last ends or which are kept already.

        Prefixes that were not used for longest make room. One that is longer than all the room is not kept, nor is one
        whose window is gone.
        """
        prefix = tuple(self.tokens[:position])
        if (known := self._kept.pop(prefix, None)) is None:
            if not 0 < position <= KEPT_TOKENS or not self._holds_window(position):
                return
            while len(self._kept) >= MAX_KEPT or sum(map(len, self._kept)) + position > KEPT_TOKENS:
                del self._kept[next(iter(self._kept))]
            known = _Kept(prefix_digest(prefix), self._full_copy(position), self._window(position))
        self._kept[prefix] = known

    def restore(self, prompt: Sequence[int]) -> int:
        """Put the longest kept prefix that `prompt` begins with in place of the sequence, if that is a gain.

        Returns the tokens held then, all of them of `prompt` and fewer than it has.
        """
        fitting = (p for p in self._kept if self.length < len(p) < len(prompt) and common_prefix(p, prompt) == len(p))
        best = max(fitting, key=len, default=None)
        if best is not None:
            state = self._kept[best] = self._kept.pop(best)
            self.rewind(0)
            self._put_full(len(best), state.full)
            self._put_window(len(best), state.window)
            self.tokens = list(best)
            # Coming back here is free, too; the copy is there.
            self._snapshots[len(best)] = state.window
            self._marks.append(len(best))
        return self.length

    def rewind(self, position: int) -> int:
        """Forget the tokens from `position` on, or from as little before it as can be done.

        Returns the tokens still held, at most `position`: the caller runs the rest again.
        """
        if not 0 <= position <= self.length:
            raise ValueError(f"cannot rewind {self.length} tokens to {position}")
        if not self._holds_window(position):
            position = max((taken for taken in self._snapshots if taken <= position), default=0)
            self._put_window(position, self._snapshots.get(position))
        del self.tokens[position:]
        self._snapshots = {taken: state for taken, state in self._snapshots.items() if taken <= position}
        self._marks = deque(mark for mark in self._marks if mark <= position)
        return position

    def clear(self) -> None:
        """Forget everything."""
        self.rewind(0)
        self._kept.clear()

    @abstractmethod
    def _buffers(self) -> Sequence[A]:
        """The memory of the sequence itself."""

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
    def _full_copy(self, position: int) -> A:
        """A copy of the first `position` tokens in the full layers."""

    @abstractmethod
    def _put_full(self, position: int, full: A) -> None:
        """Make the full layers begin with what `_full_copy` gave for `position`."""


class LinearKVCache(KVCache[A]):
    """Keys and values in two arrays [2, layers, K, slots, D], index 0 is keys; for chunks of up to `max_chunk` tokens.

    All sliding layers share a buffer of `window` - 1 slots and some slack: tokens are written one after the other, and
    when the slack is used up the newest `window` - 1 move to the front. Keys in sight are thus always one slice, in
    order.
    """

    def __init__(self, config: ModelConfig, context: int, max_chunk: int) -> None:
        super().__init__(config, context)
        heads, dim = config.num_key_value_heads, config.head_dim
        sliding = config.num_sliding_layers
        self._slots = self._past + max_chunk
        # Untouched pages cost no memory on a CPU: the context is address space until tokens fill it.
        self._full: Any = self._empty((2, config.num_hidden_layers - sliding, heads, context, dim))
        self._sliding: Any = self._empty((2, sliding, heads, self._slots, dim))
        self._start = 0  # position of the token in slot 0 of the sliding layers

    @property
    def buffers(self) -> tuple[A, A]:
        """The arrays of the full and of the sliding layers."""
        return self._full, self._sliding

    @property
    def bytes_per_token(self) -> int:
        """What a further token adds: its keys and values in the full layers."""
        return int(self._full.nbytes) // self.context

    def reserve(self, tokens: int) -> None:
        """Make room in the sliding buffer for the next `tokens` (at most `max_chunk`, within the context)."""
        used = self.length - self._start
        if used + tokens > self._slots:
            kept = min(self._past, used)
            self._sliding[:, :, :, :kept] = self._copy(self._sliding[:, :, :, used - kept : used])
            self._start = self.length - kept

    @abstractmethod
    def _empty(self, shape: tuple[int, ...]) -> A:
        """An array of that shape, with anything in it."""

    @abstractmethod
    def _copy(self, part: A) -> A:
        """A copy of a part of an array, in memory of its own."""

    def _buffers(self) -> Sequence[A]:
        return self.buffers

    def _holds_window(self, position: int) -> bool:
        return self._start <= max(0, position - self._past)

    def _window(self, position: int) -> A:
        end = position - self._start
        return self._copy(self._sliding[:, :, :, max(0, end - self._past) : end])

    def _put_window(self, position: int, window: A | None) -> None:
        tokens = 0 if window is None else min(self._past, position)
        self._start = position - tokens
        if window is not None:
            self._sliding[:, :, :, :tokens] = window

    def _full_copy(self, position: int) -> A:
        return self._copy(self._full[:, :, :, :position])

    def _put_full(self, position: int, full: A) -> None:
        self._full[:, :, :, :position] = full
