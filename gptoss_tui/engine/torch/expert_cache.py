"""A cache of recently used unpacked experts, limited in bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from gptoss_tui.engine.torch.weights import PackedExperts

CACHE_BYTES = 32 << 20
"""Too small for gpt-oss-20b's experts (33 and 17 MB each in bfloat16), but holds most of nano's (38 MB in all).

In a model with small experts, unpacking them for each token took 6 of 17 ms (nano, AMD EPYC).
"""

_SMALLEST_SHARE = 8
"""A weight larger than 1 / 8 of the cache is not kept: it would displace most of the others for a single use."""


class ExpertCache:
    """An LRU cache of weights, one per model. Not thread-safe, like the model itself."""

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self.capacity = capacity
        self.nbytes = 0
        self._kept: dict[tuple[int, int], Tensor] = {}  # (projection, expert) to its weight, least recently used first

    def weight(self, packed: PackedExperts, expert: int, dtype: torch.dtype) -> Tensor:
        """The weight of one expert of `packed`, [out, in], from the cache or unpacked now."""
        key = (id(packed), expert)
        weight = self._kept.pop(key, None)
        if weight is None:
            weight = packed.weight(expert, dtype)
            if weight.nbytes * _SMALLEST_SHARE > self.capacity:
                return weight
            self._make_room(weight.nbytes)
        self._kept[key] = weight
        return weight

    def _make_room(self, nbytes: int) -> None:
        self.nbytes += nbytes
        while self.nbytes > self.capacity:
            oldest = next(iter(self._kept))
            self.nbytes -= self._kept.pop(oldest).nbytes
