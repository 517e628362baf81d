"""Keys and values of sequences in torch's memory."""

from __future__ import annotations

import torch
from torch import Tensor

from gptoss_tui.engine.cache.linear import LinearKVCache, Strips
from gptoss_tui.engine.config import ModelConfig


class KVCache(LinearKVCache[Tensor]):
    """Room for `context` tokens, of which at most `max_chunk` are added at once.

    For each chunk call `reserve`, then `append` in every layer, then `commit`. What was not committed is overwritten by
    the next chunk.
    """

    def __init__(
        self, config: ModelConfig, context: int, max_chunk: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._dtype, self._device = dtype, device
        self._kinds = [config.is_sliding(layer) for layer in range(config.num_hidden_layers)]
        super().__init__(config, context, max_chunk)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values [T, K, D] of the next tokens; return all that these tokens may see, each [K, S, D].

        S is T plus the earlier tokens: all of them in a full layer, at most `window` - 1 in a sliding one.
        """
        is_sliding, all_keys, all_values = self._layers[layer]
        start = self.length - self._start if is_sliding else self.length
        end = start + keys.shape[0]
        all_keys[:, start:end] = keys.transpose(0, 1)
        all_values[:, start:end] = values.transpose(0, 1)
        first = max(0, start - self._past) if is_sliding else 0
        return all_keys[:, first:end], all_values[:, first:end]

    def _settle(self, memory: Strips[Tensor]) -> None:
        super()._settle(memory)
        buffers = self._full, self._sliding
        self._layers = [(sliding, *buffers[sliding][:, n // 2]) for n, sliding in enumerate(self._kinds)]

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, dtype=self._dtype, device=self._device)

    def _copy(self, part: Tensor) -> Tensor:
        return part.clone()
