"""Keys and values of sequences on a GPU, kept between requests.

Full layers hold every token, in segments of a few thousand tokens that are allocated when they are first needed.
Sliding layers are rings: position p is in slot p % `ring`. A ring is longer than the window by at least the longest
chunk, so a whole chunk can be appended before its first query looks back, and going back by no more than the rest of
the ring costs nothing. To go back further, a snapshot of the window is needed (engine/cache/history.py says where they
are taken).

Kernels find a layer's memory through a table of addresses, int64 [layers, 2, segments]: position p of a full layer is
in segment p // segment, and every position of a sliding layer in segment 0 (its table has one segment, as long as the
ring). Each segment holds [K, slots, D]. The tables never move, so a captured graph stays valid when the cache grows or
another sequence takes its place: a parked sequence is a list of segments, the last one cut to the tokens in it, and
putting it back only means writing the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.cache import kv_cache
from gptoss_tui.engine.cache.parking import Parked
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.triton.memory import ring_slots, segment_slots


@dataclass(frozen=True, slots=True)
class Segments:
    """Keys and values of the full layers as parts [full layers, 2, K, tokens, D], in the order of the tokens.

    All parts but the last are as long as a segment. They are in the device's memory or, if `on_host`, in the host's.
    """

    parts: tuple[Tensor, ...]
    on_host: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self.parts)


class KVCache(kv_cache.KVCache[Tensor, Segments]):
    """A cache for `context` tokens, of which at most `max_chunk` are added at once.

    On the axes of length 2, index 0 is keys and 1 is values. Windows are [layers, 2, K, min(window - 1, position), D].
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
        # Positions from `_oldest` up to, but not including, `_newest` have been written to the rings. An entry stays
        # there until another position overwrites its slot.
        self._oldest = self._newest = 0

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
        """Make sure that there are segments for the first `end` tokens."""
        first = len(self._full)
        while len(self._full) * self.segment < end:
            self._full.append(self._new_segment())
        if len(self._full) > first:
            self._write_table(first)

    def _new_segment(self) -> Tensor:
        """Allocate a segment. If other programs took the memory planned for it, parked sequences give way."""
        heads, dim = self.config.num_key_value_heads, self.config.head_dim
        shape = (self._full_layers, 2, heads, self.segment, dim)
        while True:
            try:
                return torch.empty(shape, dtype=self.dtype, device=self.device)
            except torch.OutOfMemoryError:
                if not self.parking.give_way():
                    raise

    def _write_table(self, first: int) -> None:
        """Write the addresses of the segments from `first` on to the table that the kernels read."""
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
        """Copy the first `position` tokens from `memory`, but only into the segments from index `first` on."""
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
        """Use whole segments on the device as they are, and copy the others."""
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
        """Replace the segments of the full layers by these."""
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
    """Addresses of the memory of segments [layers, 2, ...], int64 [layers, 2]."""
    layers, kinds = segments.shape[:2]
    size = segments.stride(1) * segments.element_size()
    return segments.data_ptr() + size * torch.arange(layers * kinds, dtype=torch.int64).view(layers, kinds)


def _host_copy(array: Tensor) -> Tensor:
    """Copy to the host's memory, pinned if the array is on a GPU: copying it back then takes only the bus's time."""
    copied = torch.empty(array.shape, dtype=array.dtype, pin_memory=_is_pinned(array))
    return copied.copy_(array, non_blocking=True)


def _is_pinned(array: Tensor) -> bool:
    """Whether `_host_copy` pins the copy."""
    return array.device.type == "cuda"


def _host_size(nbytes: int, *, pinned: bool) -> int:
    """Bytes that a copy takes in the host's memory: torch allocates pinned memory in powers of two."""
    return 1 << (nbytes - 1).bit_length() if pinned and nbytes else nbytes
