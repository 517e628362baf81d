"""Experts that were used last, unpacked, within a fixed number of bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from gptoss_tui.engine.torch.weights import PackedExperts

CACHE_BYTES = 32 << 20
"""None of gpt-oss-20b's experts is kept (33 and 17 MB each in bfloat16), most of nano's are (38 MB in all).

In a model whose experts are small, unpacking them for each token took 6 of 17 ms (nano, AMD EPYC).
"""

_SMALLEST_SHARE = 8
"""A weight that alone takes more than one in so many bytes of the cache is not kept: it would empty it for one use."""


class ExpertCache:
    """Least recently used weights go first. One for a model; not thread-safe, as the model is not."""

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self.capacity = capacity
        self.nbytes = 0
        self._kept: dict[tuple[int, int], Tensor] = {}  # (projection, expert) to its weight, oldest first

    def weight(self, packed: PackedExperts, expert: int, dtype: torch.dtype) -> Tensor:
        """The weight of one expert of `packed`, [out, in], unpacked now or lately."""
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
