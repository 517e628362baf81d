"""Keys and values of sequences in numpy's memory, where the kernels find them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.linear_kv_cache import LinearKVCache, Strips
from gptoss_tui.engine.native.library import Cache

Array = npt.NDArray[np.generic]


class KVCache(LinearKVCache[Array]):
    """Room for `context` tokens of which at most `max_chunk` come at once; kernels get `memory`.

    `wide`: elements are float32, else bfloat16 as 16-bit words.
    """

    def __init__(self, config: ModelConfig, context: int, max_chunk: int, *, wide: bool) -> None:
        self._dtype = np.dtype(np.float32 if wide else np.uint16)
        self.memory = Cache()
        super().__init__(config, context, max_chunk)
        sliding = self.buffers[1]
        self.memory.sliding, self.memory.slots = sliding.ctypes.data, sliding.shape[3]

    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens`, and tell the kernels where."""
        super().reserve(tokens)
        self.memory.sliding_start = self._start

    def _settle(self, memory: Strips[Array]) -> None:
        super()._settle(memory)
        # The kernels' context is what there is room for: the next `reserve` makes more of it.
        self.memory.full, self.memory.context = memory.flat.ctypes.data, memory.slots

    def _empty(self, shape: tuple[int, ...]) -> Array:
        return np.empty(shape, self._dtype)

    def _copy(self, part: Array) -> Array:
        return part.copy()
