"""Keys and values of sequences in numpy arrays, whose addresses are passed to the kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.cache.linear import LinearKVCache, Strips
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.native.library import Cache

Array = npt.NDArray[np.generic]


class KVCache(LinearKVCache[Array]):
    """A cache for `context` tokens, at most `max_chunk` of them added at once. `memory` describes it to the kernels.

    `wide`: elements are float32; otherwise they are bfloat16, stored as 16-bit words.
    """

    def __init__(self, config: ModelConfig, context: int, max_chunk: int, *, wide: bool) -> None:
        self._dtype = np.dtype(np.float32 if wide else np.uint16)
        self.memory = Cache()
        super().__init__(config, context, max_chunk)
        sliding = self.buffers[1]
        self.memory.sliding, self.memory.slots = sliding.ctypes.data, sliding.shape[3]

    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens`, and update `memory`."""
        super().reserve(tokens)
        self.memory.sliding_start = self._start

    def _settle(self, memory: Strips[Array]) -> None:
        super()._settle(memory)
        # The kernels see as much context as there is room for at present; `reserve` makes more.
        self.memory.full, self.memory.context = memory.flat.ctypes.data, memory.slots

    def _empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self._dtype)

    def _copy(self, part: Array) -> Array:
        return part.copy()
