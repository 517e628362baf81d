"""Keys and values of one sequence, kept between requests.

Full layers hold every token. A sliding layer needs the last `window` - 1 tokens only, so all sliding layers share a
buffer of that many slots and some slack: tokens are written one after the other, and when the slack is used up the
newest `window` - 1 move to the front. Keys in sight are thus always one slice, in order.

Going back (`rewind`) is free for full layers. A sliding layer has forgotten what left its buffer, and its keys at the
cut depend on the tokens before them through all layers, so they cannot be made again without running those. Hence
snapshots: the newest `window` - 1 keys and values of the sliding layers, taken every `SNAPSHOT_INTERVAL` tokens and
at the places that `mark` names (ends of prompts, where conversations branch). Going back to a cut that the buffer
cannot serve means the newest snapshot at or before it, and running at most `SNAPSHOT_INTERVAL` - 1 tokens again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig

SNAPSHOT_INTERVAL = 1024
"""Tokens. A snapshot of gpt-oss-20b in bfloat16 takes 3.1 MB, an eighth of 1024 tokens in the full layers."""

MAX_MARKS = 16
"""Snapshots kept outside the interval: the newest prompts' ends."""


class KVCache:
    """Room for `context` tokens of which at most `max_chunk` come at once.

    A chunk goes `reserve`, `append` in every layer, `commit`; what was not committed is overwritten by the next one.
    """

    def __init__(
        self, config: ModelConfig, context: int, max_chunk: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.context = context
        self.tokens: list[int] = []
        self._past = config.sliding_window - 1
        heads, dim, layers = config.num_key_value_heads, config.head_dim, config.num_hidden_layers
        sliding = config.num_sliding_layers
        # Untouched pages cost no memory on a CPU: the context is address space until tokens fill it.
        # Index 0 is keys, 1 is values: [2, layers, K, slots, D].
        full_shape = (2, layers - sliding, heads, context, dim)
        sliding_shape = (2, sliding, heads, self._past + max_chunk, dim)
        self._full = torch.empty(full_shape, dtype=dtype, device=device)
        self._sliding = torch.empty(sliding_shape, dtype=dtype, device=device)
        self.buffers = (self._full, self._sliding)
        self._sliding_start = 0  # position of the token in slot 0
        self._snapshots: dict[int, Tensor] = {}  # position to [2, layers, K, min(window - 1, position), D]
        self._marks: deque[int] = deque()
        self._layers = [self._view(config.is_sliding(layer), layer // 2) for layer in range(layers)]

    def _view(self, is_sliding: bool, index: int) -> tuple[bool, Tensor, Tensor]:
        keys, values = (self._sliding if is_sliding else self._full)[:, index]
        return is_sliding, keys, values

    @property
    def length(self) -> int:
        """Tokens held."""
        return len(self.tokens)

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers and snapshots."""
        return sum(tensor.nbytes for tensor in (*self.buffers, *self._snapshots.values()))

    @property
    def bytes_per_token(self) -> int:
        """What a further token adds: its keys and values in the full layers."""
        return self._full.nbytes // self.context

    def reserve(self, tokens: int) -> None:
        """Make room in the sliding buffer for the next `tokens` (at most `max_chunk`, within the context)."""
        used = self.length - self._sliding_start
        if used + tokens > self._sliding.shape[3]:
            kept = min(self._past, used)
            self._sliding[:, :, :, :kept] = self._sliding[:, :, :, used - kept : used].clone()
            self._sliding_start = self.length - kept

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values [T, K, D] of the next tokens; return all that these may see, each [K, S, D].

        S is T plus the tokens before: all of them in a full layer, at most `window` - 1 in a sliding one.
        """
        is_sliding, all_keys, all_values = self._layers[layer]
        start = self.length - self._sliding_start if is_sliding else self.length
        end = start + keys.shape[0]
        all_keys[:, start:end] = keys.transpose(0, 1)
        all_values[:, start:end] = values.transpose(0, 1)
        first = max(0, start - self._past) if is_sliding else 0
        return all_keys[:, first:end], all_values[:, first:end]

    def commit(self, ids: Sequence[int]) -> None:
        """The tokens `ids` went through all layers: they are part of the sequence now."""
        before = self.length
        self.tokens.extend(ids)
        for position in range(
            before - before % SNAPSHOT_INTERVAL + SNAPSHOT_INTERVAL, self.length + 1, SNAPSHOT_INTERVAL
        ):
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
        if self._sliding_start > max(0, position - self._past):
            position = max((kept for kept in self._snapshots if kept <= position), default=0)
            self._restore(position)
        del self.tokens[position:]
        self._snapshots = {kept: state for kept, state in self._snapshots.items() if kept <= position}
        self._marks = deque(mark for mark in self._marks if mark <= position)
        return position

    def clear(self) -> None:
        """Forget everything."""
        self.rewind(0)

    def _snapshot(self, position: int) -> None:
        end = position - self._sliding_start
        self._snapshots[position] = self._sliding[:, :, :, max(0, end - self._past) : end].clone()

    def _restore(self, position: int) -> None:
        self._sliding_start = position
        if position:
            state = self._snapshots[position]
            self._sliding_start -= state.shape[3]
            self._sliding[:, :, :, : state.shape[3]] = state
