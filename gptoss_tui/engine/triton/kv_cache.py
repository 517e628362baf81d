"""Keys and values of sequences on a GPU, kept between requests.

Full layers hold every token, in segments of some thousand tokens, allocated when the first token needs them. Sliding
layers share the shape of a ring: position p lies in slot p % `ring`. A ring is longer than the window by at least the
longest chunk, so that a chunk can be appended before its first query has looked back, and going back by what is
left of it is free. Further back a snapshot of the window is needed (see engine/history.py for where they are taken).

Kernels find a layer's memory through a table of addresses, int64 [layers, 2, segments]: position p of a full layer is
in segment p // segment, of a sliding one in segment 0 (its table has one segment that is as long as the ring). Each
segment holds [K, slots, D]. The tables stay where they are, so a captured graph survives growth, and another sequence:
what is parked is a list of segments, the last one cut to the tokens in it, and putting them back is writing the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine import kv_cache
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.parking import Parked
from gptoss_tui.engine.triton.memory import ring_slots, segment_slots


@dataclass(frozen=True, slots=True)
class Segments:
    """Tokens of the full layers, in order: [full layers, 2, K, tokens, D] each, all but the last as long as a segment.

    On the device, or `on_host`, in the machine's memory.
    """

    parts: tuple[Tensor, ...]
    on_host: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(part.nbytes for part in self.parts)


class KVCache(kv_cache.KVCache[Tensor, Segments]):
    """Room for `context` tokens of which at most `max_chunk` come at once.

    Index 0 is keys, 1 is values. Windows are [layers, 2, K, min(window - 1, position), D].
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
        # Positions from the oldest on and below the newest were written to the rings, and stay until overwritten.
        self._oldest = self._newest = 0

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
        first = len(self._full)
        while len(self._full) * self.segment < end:
            self._full.append(self._new_segment())
        if len(self._full) > first:
            self._write_table(first)

    def _new_segment(self) -> Tensor:
        """Memory for more tokens. What waits gives way where others took what the plan had for it."""
        heads, dim = self.config.num_key_value_heads, self.config.head_dim
        shape = (self._full_layers, 2, heads, self.segment, dim)
        while True:
            try:
                return torch.empty(shape, dtype=self.dtype, device=self.device)
            except torch.OutOfMemoryError:
                if not self.parking.give_way():
                    raise

    def _write_table(self, first: int) -> None:
        """Tell the kernels where the segments from `first` on are."""
        if len(self._full) > first:
            addresses = torch.stack([_addresses(segment) for segment in self._full[first:]], dim=2)
            self._full_table[:, :, first : len(self._full)] = addresses.to(self.device)

    def _buffer_bytes(self) -> int:
        return int(self._sliding.nbytes) + sum(segment.nbytes for segment in self._full)

    def _holds_window(self, position: int) -> bool:
        first = max(0, position - self._past)
        return self._oldest <= first and self._newest - first <= self.ring

    def _window(self, position: int) -> Tensor:
        return self._sliding[:, :, :, self._slots(position)]

    def _put_window(self, position: int, window: Tensor | None) -> None:
        if window is not None:
            self._sliding[:, :, :, self._slots(position)] = window.to(self.device)
        self._oldest, self._newest = max(0, position - self._past), position

    def _full_copy(self, position: int) -> Segments:
        return Segments(
            tuple(
                part[:, :, :, : position - n * self.segment].clone()
                for n, part in enumerate(self._full[: -(-position // self.segment)])
            )
        )

    def _put_full(self, position: int, memory: Segments) -> None:
        self._allocate(position)
        self._fill(position, memory, 0)

    def _fill(self, position: int, memory: Segments, first: int) -> None:
        """Copy what `memory` has of the first `position` tokens to the segments from `first` on."""
        for n in range(first, -(-position // self.segment)):
            part = memory.parts[n][:, :, :, : position - n * self.segment]
            self._full[n][:, :, :, : part.shape[3]].copy_(part, non_blocking=True)

    def _take_full(self) -> Segments:
        whole, rest = divmod(self.length, self.segment)
        tail = (self._full[whole][:, :, :, :rest].clone(),) if rest else ()
        taken = Segments((*self._full[:whole], *tail))
        self._have(self._full[whole:])
        return taken

    def _give_full(self, length: int, memory: Segments) -> None:
        """Whole segments on the device are used as they are; others are copied."""
        spare, whole = self._full, length // self.segment
        ready = () if memory.on_host else memory.parts[:whole]
        self._have([*ready, *spare][: self.segments])
        try:
            self._allocate(length)
            self._fill(length, memory, len(ready))
        except BaseException:
            self._have(spare)
            raise

    def _have(self, segments: Sequence[Tensor]) -> None:
        """Have these segments in place of others."""
        self._full = list(segments)
        self._write_table(0)

    def _to_host(self, parked: Parked[Tensor, Segments]) -> None:
        memory = Segments(tuple(map(_host_copy, parked.memory.parts)), on_host=True)
        window = _host_copy(parked.window)
        windows = {position: _host_copy(taken) for position, taken in parked.history.windows.items()}
        parked.nbytes = self._host_bytes(parked)
        parked.memory, parked.window, parked.history.windows = memory, window, windows

    def _host_bytes(self, parked: Parked[Tensor, Segments]) -> int:
        arrays = (*parked.memory.parts, parked.window, *parked.history.windows.values())
        return sum(_host_size(array.nbytes, pinned=_is_pinned(array)) for array in arrays)

    def _slots(self, position: int) -> Tensor:
        """Slots of the window before `position`, in order."""
        return torch.arange(max(0, position - self._past), position, device=self.device) % self.ring


def _addresses(segments: Tensor) -> Tensor:
    """Addresses int64 of the memory of segments [layers, 2, ...]: [layers, 2]."""
    layers, kinds = segments.shape[:2]
    size = segments.stride(1) * segments.element_size()
    return segments.data_ptr() + size * torch.arange(layers * kinds, dtype=torch.int64).view(layers, kinds)


def _host_copy(array: Tensor) -> Tensor:
    """A copy in the machine's memory, pinned where a GPU reads it: who needs it waits for nothing but the bus."""
    copied = torch.empty(array.shape, dtype=array.dtype, pin_memory=_is_pinned(array))
    return copied.copy_(array, non_blocking=True)


def _is_pinned(array: Tensor) -> bool:
    """Whether a copy of it in the machine's memory is pinned."""
    return array.device.type == "cuda"


def _host_size(nbytes: int, *, pinned: bool) -> int:
    """What a copy takes there: torch hands out pinned memory in powers of two."""
    return 1 << (nbytes - 1).bit_length() if pinned and nbytes else nbytes
