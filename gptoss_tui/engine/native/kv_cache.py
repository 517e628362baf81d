"""Keys and values of one sequence in numpy's memory, kept between requests.

The scheme is the torch engine's (`engine/torch/kv_cache.py`): full layers hold every token, sliding ones a buffer of
their window and some slack, snapshots serve going back behind it, and a few beginnings are kept beside the sequence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.memory import KEPT_TOKENS, MAX_KEPT, MAX_MARKS, SNAPSHOT_INTERVAL
from gptoss_tui.engine.native.library import Cache
from gptoss_tui.engine.prefix import prefix_digest

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A beginning of a sequence: [2, layers, K, position, D], and [2, layers, K, min(window - 1, position), D]."""

    digest: str
    full: Array
    sliding: Array


class KVCache:
    """Room for `context` tokens of which at most `max_chunk` come at once.

    A chunk goes `reserve`, kernels that write (they get `memory`), `commit`; what was not committed is overwritten by
    the next one. `wide`: elements are float32, else bfloat16 as 16-bit words.
    """

    def __init__(self, config: ModelConfig, context: int, max_chunk: int, *, wide: bool) -> None:
        self.context = context
        self.tokens: list[int] = []
        self._past = config.sliding_window - 1
        heads, dim, layers = config.num_key_value_heads, config.head_dim, config.num_hidden_layers
        sliding = config.num_sliding_layers
        dtype = np.dtype(np.float32 if wide else np.uint16)
        # Untouched pages cost no memory: the context is address space until tokens fill it.
        # Index 0 is keys, 1 is values: [2, layers, K, slots, D].
        self._full: Array = np.empty((2, layers - sliding, heads, context, dim), dtype=dtype)
        self._sliding: Array = np.empty((2, sliding, heads, self._past + max_chunk, dim), dtype=dtype)
        self.buffers = (self._full, self._sliding)
        self.memory = Cache(
            full=self._full.ctypes.data,
            sliding=self._sliding.ctypes.data,
            context=context,
            slots=self._sliding.shape[3],
        )
        self._start = 0  # position of the token in slot 0
        self._snapshots: dict[int, Array] = {}  # position to [2, layers, K, min(window - 1, position), D]
        self._marks: deque[int] = deque()
        self._kept: dict[tuple[int, ...], _Kept] = {}  # the one used last stands at the end

    @property
    def length(self) -> int:
        """Tokens held."""
        return len(self.tokens)

    @property
    def kept(self) -> tuple[str, ...]:
        """Digests of the kept prefixes, the one used last at the end."""
        return tuple(prefix.digest for prefix in self._kept.values())

    @property
    def bytes_per_token(self) -> int:
        """What a further token adds: its keys and values in the full layers."""
        return self._full.nbytes // self.context

    def reserve(self, tokens: int) -> None:
        """Make room in the sliding buffer for the next `tokens` (at most `max_chunk`, within the context)."""
        used = self.length - self._start
        if used + tokens > self._sliding.shape[3]:
            kept = min(self._past, used)
            self._sliding[:, :, :, :kept] = self._sliding[:, :, :, used - kept : used].copy()
            self._start = self.length - kept
        self.memory.sliding_start = self._start

    def commit(self, ids: Sequence[int]) -> None:
        """The tokens `ids` went through all layers: they are part of the sequence now."""
        before = self.length
        self.tokens.extend(ids)
        first = before - before % SNAPSHOT_INTERVAL + SNAPSHOT_INTERVAL
        for position in range(first, self.length + 1, SNAPSHOT_INTERVAL):
            self._snapshots[position] = self._sliding_past(position)

    def mark(self, position: int) -> None:
        """Make coming back to `position`, in the chunk committed last, free. The newest `MAX_MARKS` marks are kept."""
        if position in self._snapshots:
            return
        self._snapshots[position] = self._sliding_past(position)
        self._marks.append(position)
        if len(self._marks) > MAX_MARKS:
            del self._snapshots[self._marks.popleft()]

    def keep(self, position: int) -> None:
        """Keep the tokens before `position`, where the chunk committed last ends or which are kept already.

        Prefixes that were not used for longest make room. One that is longer than all the room is not kept.
        """
        prefix = tuple(self.tokens[:position])
        if (known := self._kept.pop(prefix, None)) is None:
            if position > KEPT_TOKENS:
                return
            while len(self._kept) >= MAX_KEPT or sum(map(len, self._kept)) + position > KEPT_TOKENS:
                del self._kept[next(iter(self._kept))]
            known = _Kept(prefix_digest(prefix), self._full[:, :, :, :position].copy(), self._sliding_past(position))
        self._kept[prefix] = known

    def restore(self, prompt: Sequence[int]) -> int:
        """Put the longest kept prefix that `prompt` begins with in place of the sequence, if that is a gain.

        Returns the tokens held then, all of them of `prompt` and fewer than it has.
        """
        fitting = (p for p in self._kept if self.length < len(p) < len(prompt) and tuple(prompt[: len(p)]) == p)
        best = max(fitting, key=len, default=None)
        if best is not None:
            state = self._kept[best] = self._kept.pop(best)
            self.rewind(0)
            self._full[:, :, :, : len(best)] = state.full
            self._put_sliding(len(best), state.sliding)
            self.tokens = list(best)
        return self.length

    def rewind(self, position: int) -> int:
        """Forget the tokens from `position` on, or from as little before it as can be done.

        Returns the tokens still held, at most `position`: the caller runs the rest again.
        """
        if not 0 <= position <= self.length:
            raise ValueError(f"cannot rewind {self.length} tokens to {position}")
        if self._start > max(0, position - self._past):
            position = max((kept for kept in self._snapshots if kept <= position), default=0)
            if position:
                self._put_sliding(position, self._snapshots[position])
            else:
                self._start = 0
        del self.tokens[position:]
        self._snapshots = {kept: state for kept, state in self._snapshots.items() if kept <= position}
        self._marks = deque(mark for mark in self._marks if mark <= position)
        return position

    def clear(self) -> None:
        """Forget everything."""
        self.rewind(0)
        self._kept.clear()

    def _sliding_past(self, position: int) -> Array:
        """A copy of what the token at `position`, in or behind the chunk committed last, sees in the sliding layers."""
        end = position - self._start
        return self._sliding[:, :, :, max(0, end - self._past) : end].copy()

    def _put_sliding(self, position: int, state: Array) -> None:
        """Make the sliding buffer end before `position` with what `_sliding_past` gave."""
        self._start = position - state.shape[3]
        self._sliding[:, :, :, : state.shape[3]] = state
