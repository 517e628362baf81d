"""Keys and values of one sequence on a GPU, kept between requests.

Full layers hold every token, in segments of some thousand tokens, allocated when the first token needs them. Sliding
layers share the shape of a ring: position p lies in slot p % `ring`. A ring is longer than the window by at least the
longest chunk, so that a chunk can be appended before its first query has looked back, and going back by what is
left of it is free. Further back a snapshot of the window is needed (see engine/kv_cache.py for where they are taken).

Kernels find a layer's memory through a table of addresses, int64 [layers, 2, segments]: position p of a full layer is
in segment p // segment, of a sliding one in segment 0 (its table has one segment that is as long as the ring). Each
segment holds [K, slots, D]. The tables stay where they are, so a captured graph survives growth.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gptoss_tui.engine import kv_cache
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.triton.memory import ring_slots, segment_slots


class KVCache(kv_cache.KVCache[Tensor]):
    """Room for `context` tokens of which at most `max_chunk` come at once.

    Index 0 is keys, 1 is values. Copies of full layers are [layers, 2, K, position, D], of windows [layers, 2, K,
    min(window - 1, position), D].
    """

    def __init__(
        self, config: ModelConfig, context: int, max_chunk: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(config, context)
        self.config, self.dtype, self.device = config, dtype, device
        self.ring = ring_slots(config, max_chunk)
        self.segment = segment_slots(context)
        self.segments = -(-context // self.segment)
        sliding, heads, dim = config.num_sliding_layers, config.num_key_value_heads, config.head_dim
        self._full_layers = config.num_hidden_layers - sliding
        self._sliding = torch.empty((sliding, 2, heads, self.ring, dim), dtype=dtype, device=device)
        self._full: list[Tensor] = []  # segments of [full layers, 2, K, segment, D]
        self._sliding_table = _addresses(self._sliding)[..., None].to(device)  # [layers, 2, 1]
        self._full_table = torch.zeros((self._full_layers, 2, self.segments), dtype=torch.int64, device=device)
        self._newest = 0  # positions below this were written to the rings at some time

    @property
    def bytes_per_token(self) -> int:
        """What a further token adds: its keys and values in the full layers."""
        size = torch.empty((), dtype=self.dtype).element_size()
        return self._full_layers * 2 * self.config.kv_width * size

    def table(self, layer: int) -> tuple[Tensor, int, int]:
        """Addresses int64 [2, segments] of a layer, the slots of a segment, and the number of segments."""
        if self.config.is_sliding(layer):
            return self._sliding_table[layer // 2], self.ring, 1
        return self._full_table[layer // 2], self.segment, self.segments

    def reserve(self, tokens: int) -> None:
        """Make room for the next `tokens` (at most `max_chunk`, within the context)."""
        self._allocate(self.length + tokens)
        self._newest = max(self._newest, self.length + tokens)

    def _allocate(self, end: int) -> None:
        """Have segments for the first `end` tokens."""
        while len(self._full) * self.segment < end:
            heads, dim = self.config.num_key_value_heads, self.config.head_dim
            shape = (self._full_layers, 2, heads, self.segment, dim)
            self._full.append(torch.empty(shape, dtype=self.dtype, device=self.device))
            self._full_table[:, :, len(self._full) - 1] = _addresses(self._full[-1]).to(self.device)

    def _buffers(self) -> Sequence[Tensor]:
        return self._sliding, *self._full

    def _holds_window(self, position: int) -> bool:
        return self._newest - max(0, position - self._past) <= self.ring

    def _window(self, position: int) -> Tensor:
        return self._sliding[:, :, :, self._slots(position)]

    def _put_window(self, position: int, window: Tensor | None) -> None:
        if window is not None:
            self._sliding[:, :, :, self._slots(position)] = window
        self._newest = position

    def _full_copy(self, position: int) -> Tensor:
        return torch.cat([segment[:, :, :, : position - at] for at, segment in self._covering(position)], dim=3)

    def _put_full(self, position: int, full: Tensor) -> None:
        self._allocate(position)
        for at, segment in self._covering(position):
            part = full[:, :, :, at : at + self.segment]
            segment[:, :, :, : part.shape[3]] = part

    def _covering(self, position: int) -> list[tuple[int, Tensor]]:
        """The full segments that hold the first `position` tokens, each with the position of its first one."""
        return [(n * self.segment, part) for n, part in enumerate(self._full) if n * self.segment < position]

    def _slots(self, position: int) -> Tensor:
        """Slots of the window before `position`, in order."""
        return torch.arange(max(0, position - self._past), position, device=self.device) % self.ring


def _addresses(segments: Tensor) -> Tensor:
    """Addresses int64 of the memory of segments [layers, 2, ...]: [layers, 2]."""
    return torch.tensor([[part.data_ptr() for part in layer] for layer in segments], dtype=torch.int64)
