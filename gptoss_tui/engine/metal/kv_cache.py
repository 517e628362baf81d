"""Keys and values of sequences in memory shared with the GPU.

Each layer has one array [2, K, slots, D], with keys at index 0 and values at 1, so that a step needs only one write.
MLX writes in place as long as nothing else references the array: so copies (`_window`, `_full_copy`) are evaluated at
once, not lazily. When a sequence is parked, the arrays of the full layers are handed over without a copy.

Full layers grow by `GROWTH` tokens. A sliding layer has room for its window and a chunk: tokens are written one after
another, and when there is no room left, the newest `window` - 1 are moved to the front. So the visible keys are always
one slice, in order, as MLX's attention needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

from gptoss_tui.engine.cache import kv_cache
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.memory import GROWTH


@dataclass(frozen=True, slots=True)
class FullLayers:
    """The arrays of the full layers, [2, K, slots, D] each."""

    arrays: tuple[mx.array, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(int(array.nbytes) for array in self.arrays)


class KVCache(kv_cache.KVCache[mx.array, FullLayers]):
    """A cache for `context` tokens, of which at most `max_chunk` are added at once."""

    layers: list[mx.array]
    _start: int
    _room: int

    def __init__(self, config: ModelConfig, context: int, max_chunk: int, dtype: mx.Dtype) -> None:
        super().__init__(config, context)
        self.config, self._dtype = config, dtype
        self._slots = self._past + max_chunk
        self._sliding = [layer for layer in range(config.num_hidden_layers) if config.is_sliding(layer)]
        self._full = [layer for layer in range(config.num_hidden_layers) if not config.is_sliding(layer)]
        self._make_layers()
        mx.eval(self.layers)

    def reset(self) -> None:
        """Forget everything and make new arrays, after MLX failed. They take memory only when they are used."""
        self.clear()
        self._make_layers()

    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens` (at most `max_chunk`, within the context)."""
        used = self.length - self._start
        if used + tokens > self._slots:
            kept = min(self._past, used)
            for layer in self._sliding:
                self.layers[layer][:, :, :kept] = self.layers[layer][:, :, used - kept : used]
            self._start = self.length - kept
        self._grow(self.length + tokens)

    def append(self, layer: int, pair: mx.array) -> tuple[mx.array, mx.array]:
        """Write keys and values [2, K, T, D] of the next tokens; returns all that these may see, each [1, K, S, D].

        S is T plus the earlier tokens: all of them in a full layer, at most `window` - 1 in a sliding one.
        """
        sliding = self.config.is_sliding(layer)
        start = self.length - self._start if sliding else self.length
        end = start + pair.shape[2]
        self.layers[layer][:, :, start:end] = pair
        first = max(0, start - self._past) if sliding else 0
        seen = self.layers[layer][:, :, first:end]
        return seen[:1], seen[1:]

    def _make_layers(self) -> None:
        self._start = 0  # position of the token in slot 0 of the sliding layers
        self._room = 0  # slots of the full layers
        sliding = map(self.config.is_sliding, range(self.config.num_hidden_layers))
        self.layers = [self._zeros(self._slots if slides else 0) for slides in sliding]

    def _grow(self, tokens: int) -> None:
        """Let the full layers hold `tokens`. They grow one by one, so that only one exists twice at a time."""
        if tokens <= self._room:
            return
        room = min(self.context, -(-tokens // GROWTH) * GROWTH)
        for layer in self._full:
            self.layers[layer] = mx.concatenate((self.layers[layer], self._zeros(room - self._room)), axis=2)
            mx.eval(self.layers[layer])
        self._room = room

    def _zeros(self, slots: int) -> mx.array:
        return mx.zeros((2, self.config.num_key_value_heads, slots, self.config.head_dim), dtype=self._dtype)

    def _buffer_bytes(self) -> int:
        return sum(int(layer.nbytes) for layer in self.layers)

    def _holds_window(self, position: int) -> bool:
        return self._start <= max(0, position - self._past)

    def _window(self, position: int) -> mx.array:
        end = position - self._start
        return self._copied(self._sliding, max(0, end - self._past), end)

    def _put_window(self, position: int, window: mx.array | None) -> None:
        tokens = 0 if window is None else window.shape[3]
        self._start = position - tokens
        if window is not None:
            for index, layer in enumerate(self._sliding):
                self.layers[layer][:, :, :tokens] = window[index]

    def _full_copy(self, position: int) -> FullLayers:
        copied = [mx.contiguous(self.layers[layer][:, :, :position]) for layer in self._full]
        mx.eval(copied)
        return FullLayers(tuple(copied))

    def _put_full(self, position: int, memory: FullLayers) -> None:
        self._grow(position)
        for layer, array in zip(self._full, memory.arrays, strict=True):
            self.layers[layer][:, :, :position] = array[:, :, :position]

    def _take_full(self) -> FullLayers:
        if self._room > 2 * self.length:
            return self._full_copy(self.length)
        taken = FullLayers(tuple(self.layers[layer] for layer in self._full))
        self._have(FullLayers(tuple(self._zeros(0) for _ in self._full)))
        return taken

    def _give_full(self, length: int, memory: FullLayers) -> None:
        self._have(memory)

    def _have(self, memory: FullLayers) -> None:
        """Replace the arrays of the full layers by these."""
        for layer, array in zip(self._full, memory.arrays, strict=True):
            self.layers[layer] = array
            self._room = array.shape[2]

    def _copied(self, layers: Sequence[int], first: int, end: int) -> mx.array:
        """A copy of slots `first` to `end` of some layers, [layers, 2, K, slots, D]."""
        if not layers:
            return mx.zeros((0, 2, 0, end - first, 0), dtype=self._dtype)
        copied = mx.stack([self.layers[layer][:, :, first:end] for layer in layers])
        mx.eval(copied)
        return copied
