"""A KV cache in arrays with positions in order, for engines that use the machine's memory."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Generic

from gptoss_tui.engine.cache.history import A
from gptoss_tui.engine.cache.kv_cache import KVCache
from gptoss_tui.engine.config import ModelConfig

GROWTH = 256
"""Tokens. The full layers grow by half of what they hold, rounded up to a multiple of this."""


@dataclass(frozen=True, slots=True)
class Strips(Generic[A]):
    """Memory of the full layers: `flat` begins with `slots` rows for each of keys and values, layer and head.

    The rest of `flat` is only address space: untouched pages use no memory.
    """

    flat: A
    slots: int
    nbytes: int


class LinearKVCache(KVCache[A, Strips[A]]):
    """Keys and values in arrays [2, layers, K, slots, D] (index 0: keys), for chunks of up to `max_chunk` tokens.

    The array of the full layers grows in place. All sliding layers share one array of `window` - 1 slots plus slack:
    tokens are written one after the other, and when the slack is used up, the newest `window` - 1 move to the front.
    The visible keys are thus always one slice, in order.
    """

    def __init__(self, config: ModelConfig, context: int, max_chunk: int) -> None:
        super().__init__(config, context)
        heads, sliding = config.num_key_value_heads, config.num_sliding_layers
        self._dim = config.head_dim
        self._shape = (2, config.num_hidden_layers - sliding, heads)
        self._strips = 2 * (config.num_hidden_layers - sliding) * heads
        self._slots = self._past + max_chunk
        self._sliding: Any = self._empty((2, sliding, heads, self._slots, self._dim))
        self._row = int(self._empty((self._dim,)).nbytes)
        self._start = 0  # position of the token in slot 0 of the sliding layers
        self._settle(self._unused())

    @property
    def buffers(self) -> tuple[A, A]:
        """The memory of the full layers, including unused parts, and the array of the sliding layers."""
        return self._memory.flat, self._sliding

    @property
    def bytes_per_token(self) -> int:
        """Bytes that each further token takes: its keys and values in the full layers."""
        return self._strips * self._row

    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens` (at most `max_chunk`, within the context)."""
        used = self.length - self._start
        if used + tokens > self._slots:
            kept = min(self._past, used)
            self._sliding[:, :, :, :kept] = self._copy(self._sliding[:, :, :, used - kept : used])
            self._start = self.length - kept
        self._grow(self.length + tokens)

    @abstractmethod
    def _empty(self, shape: tuple[int, ...]) -> A:
        """An uninitialised array of that shape."""

    @abstractmethod
    def _copy(self, part: A) -> A:
        """A copy of a part of an array, in its own memory."""

    def _settle(self, memory: Strips[A]) -> None:
        """Use `memory` for the full layers from now on."""
        self._memory = memory
        self._full: Any = self._rows(memory).reshape(*self._shape, memory.slots, self._dim)

    def _unused(self, context: int | None = None) -> Strips[A]:
        """Memory for `context` tokens that does not hold any yet."""
        context = self.context if context is None else context
        return Strips(self._empty((self._strips * context * self._dim,)), 0, 0)

    def _rows(self, memory: Strips[A]) -> Any:
        """`memory` as an array [strips, slots, D]."""
        flat: Any = memory.flat
        used = self._strips * memory.slots * self._dim
        return flat[:used].reshape(self._strips, memory.slots, self._dim)

    def _with_slots(self, memory: Strips[A], slots: int) -> Strips[A]:
        return Strips(memory.flat, slots, slots * self.bytes_per_token)

    def _grow(self, tokens: int) -> None:
        """Make the full layers hold `tokens`, within the context. The strips move apart, beginning with the last."""
        slots = self._memory.slots
        if tokens <= slots or slots == self.context:
            return
        wanted = -(-max(tokens, slots * 3 // 2) // GROWTH) * GROWTH
        grown = self._with_slots(self._memory, min(self.context, wanted))
        old, new, held = self._rows(self._memory), self._rows(grown), self.length
        if held:
            carried: Any = self._copy(old[0, :held])
            for strip in range(self._strips - 1, 0, -1):
                carried[:] = old[strip, :held]  # source and target may overlap
                new[strip, :held] = carried
        self._settle(grown)

    def _buffer_bytes(self) -> int:
        return self._memory.nbytes + int(self._sliding.nbytes)

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

    def _full_copy(self, position: int) -> Strips[A]:
        copied = self._with_slots(self._unused(position), position)
        self._rows(copied)[:] = self._rows(self._memory)[:, :position]
        return copied

    def _put_full(self, position: int, memory: Strips[A]) -> None:
        self._grow(position)
        self._rows(self._memory)[:, :position] = self._rows(memory)[:, :position]

    def _take_full(self) -> Strips[A]:
        taken = self._memory
        if taken.slots > 2 * self.length + GROWTH:
            # As long as the context, so that it can grow again when it comes back.
            copied = self._with_slots(self._unused(), self.length)
            self._rows(copied)[:] = self._rows(taken)[:, : self.length]
            return copied
        self._settle(self._unused())
        return taken

    def _give_full(self, length: int, memory: Strips[A]) -> None:
        self._settle(memory)
