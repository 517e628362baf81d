"""Keys and values of one sequence on a GPU, kept between requests.

Full layers hold every token, in segments of some thousand tokens, allocated when the first token needs them. Sliding
layers share the shape of a ring: position p lies in slot p % `ring`. A ring is longer than the window by at least the
longest chunk, so that a chunk can be appended before its first query has looked back, and going back by what is
left of it is free. Further back a snapshot of the window is needed (see engine/prefix.py for where they are taken).

Kernels find a layer's memory through a table of addresses, int64 [layers, 2, segments]: position p of a full layer is
in segment p // segment, of a sliding one in segment 0 (its table has one segment that is as long as the ring). Each
segment holds [K, slots, D]. The tables stay where they are, so a captured graph survives growth.

Beside the sequence stand kept prefixes, as in the torch engine: copies of a few beginnings, which `restore` puts in
place of the sequence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.prefix import common_prefix, prefix_digest
from gptoss_tui.engine.torch.kv_cache import KEPT_TOKENS, MAX_KEPT, MAX_MARKS, SNAPSHOT_INTERVAL
from gptoss_tui.engine.triton.memory import ring_slots, segment_slots


@dataclass(frozen=True, slots=True)
class _Kept:
    """A beginning of a sequence: [layers, 2, K, position, D], and [layers, 2, K, min(window - 1, position), D]."""

    full: Tensor
    sliding: Tensor


class KVCache:
    """Room for `context` tokens of which at most `max_chunk` come at once.

    A chunk goes `reserve`, kernels that write, `commit`; what was not committed is overwritten by the next one.
    """

    def __init__(
        self, config: ModelConfig, context: int, max_chunk: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.config, self.context, self.dtype, self.device = config, context, dtype, device
        self.tokens: list[int] = []
        self._past = config.sliding_window - 1
        self.ring = ring_slots(config, max_chunk)
        self.segment = segment_slots(context)
        self.segments = -(-context // self.segment)
        sliding, heads, dim = config.num_sliding_layers, config.num_key_value_heads, config.head_dim
        self._full_layers = config.num_hidden_layers - sliding
        # Index 0 is keys, 1 is values.
        self._sliding = torch.empty((sliding, 2, heads, self.ring, dim), dtype=dtype, device=device)
        self._full: list[Tensor] = []  # segments of [full layers, 2, K, segment, D]
        self._sliding_table = _addresses(self._sliding)[..., None].to(device)  # [layers, 2, 1]
        self._full_table = torch.zeros((self._full_layers, 2, self.segments), dtype=torch.int64, device=device)
        self._newest = 0  # positions below this were written to the rings at some time
        self._snapshots: dict[int, Tensor] = {}  # position to [layers, 2, K, min(window - 1, position), D]
        self._marks: deque[int] = deque()
        self._kept: dict[tuple[int, ...], _Kept] = {}  # the one used last stands at the end

    @property
    def length(self) -> int:
        """Tokens held."""
        return len(self.tokens)

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, snapshots and kept prefixes."""
        kept = (tensor for prefix in self._kept.values() for tensor in (prefix.full, prefix.sliding))
        return sum(tensor.nbytes for tensor in (self._sliding, *self._full, *self._snapshots.values(), *kept))

    @property
    def kept(self) -> tuple[str, ...]:
        """Digests of the kept prefixes, the one used last at the end."""
        return tuple(prefix_digest(tokens) for tokens in self._kept)

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
        end = self.length + tokens
        while len(self._full) * self.segment < end:
            heads, dim = self.config.num_key_value_heads, self.config.head_dim
            shape = (self._full_layers, 2, heads, self.segment, dim)
            self._full.append(torch.empty(shape, dtype=self.dtype, device=self.device))
            self._full_table[:, :, len(self._full) - 1] = _addresses(self._full[-1]).to(self.device)
        self._newest = max(self._newest, end)

    def commit(self, ids: Sequence[int]) -> None:
        """The tokens `ids` went through all layers: they are part of the sequence now."""
        before = self.length
        self.tokens.extend(ids)
        first = before - before % SNAPSHOT_INTERVAL + SNAPSHOT_INTERVAL
        for position in range(first, self.length + 1, SNAPSHOT_INTERVAL):
            self._snapshot(position)

    def mark(self, position: int) -> None:
        """Make coming back to `position`, in the chunk committed last, free. The newest `MAX_MARKS` marks are kept."""
        if position in self._snapshots:
            return
        self._snapshot(position)
        self._marks.append(position)
        if len(self._marks) > MAX_MARKS:
            del self._snapshots[self._marks.popleft()]

    def rewind(self, position: int) -> int:
        """Forget the tokens from `position` on, or from as little before it as can be done.

        Returns the tokens still held, at most `position`: the caller runs the rest again.
        """
        if not 0 <= position <= self.length:
            raise ValueError(f"cannot rewind {self.length} tokens to {position}")
        if not self._can_cut(position):
            position = max((kept for kept in self._snapshots if kept <= position), default=0)
            self._restore(position)
        del self.tokens[position:]
        self._snapshots = {kept: state for kept, state in self._snapshots.items() if kept <= position}
        self._marks = deque(mark for mark in self._marks if mark <= position)
        return position

    def clear(self) -> None:
        """Forget everything."""
        self.rewind(0)

    def keep(self, position: int) -> None:
        """Copy the first `position` tokens, which are in the cache, beside the sequence; old copies make room."""
        key = tuple(self.tokens[:position])
        if kept := self._kept.pop(key, None):
            self._kept[key] = kept
            return
        if not 0 < position <= KEPT_TOKENS or not self._can_cut(position):
            return
        while self._kept and (len(self._kept) >= MAX_KEPT or sum(map(len, self._kept)) + position > KEPT_TOKENS):
            del self._kept[next(iter(self._kept))]
        parts = [segment[:, :, :, : position - at] for at, segment in self._covering(position)]
        self._kept[key] = _Kept(torch.cat(parts, dim=3), self._window(position))

    def restore(self, tokens: Sequence[int]) -> int:
        """Put the longest kept prefix of `tokens`, less their last one, in place of a shorter sequence.

        Returns the tokens held then.
        """
        fitting = [key for key in self._kept if len(key) < len(tokens) and common_prefix(key, tokens) == len(key)]
        best = max(fitting, key=len, default=())
        if len(best) <= self.length:
            return self.length
        kept = self._kept[best] = self._kept.pop(best)
        self.rewind(0)
        self.reserve(len(best))
        for at, segment in self._covering(len(best)):
            part = kept.full[:, :, :, at : at + self.segment]
            segment[:, :, :, : part.shape[3]] = part
        self._sliding[:, :, :, self._slots(len(best))] = kept.sliding
        self.tokens, self._newest = list(best), len(best)
        self._snapshots[len(best)] = kept.sliding
        return self.length

    def _covering(self, position: int) -> list[tuple[int, Tensor]]:
        """The full segments that hold the first `position` tokens, each with the position of its first one."""
        return [(n * self.segment, part) for n, part in enumerate(self._full) if n * self.segment < position]

    def _can_cut(self, position: int) -> bool:
        """Whether the rings still hold the window before `position`."""
        return self._newest - max(0, position - self._past) <= self.ring

    def _window(self, position: int) -> Tensor:
        return self._sliding[:, :, :, self._slots(position)]

    def _slots(self, position: int) -> Tensor:
        """Slots of the window before `position`, in order."""
        return torch.arange(max(0, position - self._past), position, device=self.device) % self.ring

    def _snapshot(self, position: int) -> None:
        self._snapshots[position] = self._window(position)

    def _restore(self, position: int) -> None:
        if position:
            self._sliding[:, :, :, self._slots(position)] = self._snapshots[position]
        self._newest = position


def _addresses(segments: Tensor) -> Tensor:
    """Addresses int64 of the memory of segments [layers, 2, ...]: [layers, 2]."""
    return torch.tensor([[part.data_ptr() for part in layer] for layer in segments], dtype=torch.int64)
