"""Keys and values of one sequence, kept between requests.

Full layers hold every token. A sliding layer needs the last `window` - 1 tokens only, so all sliding layers share a
buffer of that many slots and some slack: tokens are written one after the other, and when the slack is used up the
newest `window` - 1 move to the front. Keys in sight are thus always one slice, in order.

Going back (`rewind`) is free for full layers. A sliding layer has forgotten what left its buffer, and its keys at the
cut depend on the tokens before them through all layers, so they cannot be made again without running those. Hence
snapshots: the newest `window` - 1 keys and values of the sliding layers, taken every `SNAPSHOT_INTERVAL` tokens and
at the places that `mark` names (ends of prompts, where conversations branch). Going back to a cut that the buffer
cannot serve means the newest snapshot at or before it, and running at most `SNAPSHOT_INTERVAL` - 1 tokens again.

Beside the sequence stand kept prefixes: copies of all keys and values of a few beginnings, such as the system message
for each reasoning effort. `restore` puts one in place of the sequence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.prefix import prefix_digest

SNAPSHOT_INTERVAL = 1024
"""Tokens. A snapshot of gpt-oss-20b in bfloat16 takes 3.1 MB, an eighth of 1024 tokens in the full layers."""

MAX_MARKS = 16
"""Snapshots kept outside the interval: the newest prompts' ends."""

MAX_KEPT = 3
"""Prefixes beside the sequence: one for each reasoning effort."""

KEPT_TOKENS = 6144
"""Tokens of all kept prefixes together: 157 MB for gpt-oss-20b in bfloat16."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A beginning of a sequence: [2, layers, K, position, D], and [2, layers, K, min(window - 1, position), D]."""

    digest: str
    full: Tensor
    sliding: Tensor


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
        self._kept: dict[tuple[int, ...], _Kept] = {}  # the one used last stands at the end
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
        """Bytes of all buffers, snapshots and kept prefixes."""
        kept = (tensor for prefix in self._kept.values() for tensor in (prefix.full, prefix.sliding))
        return sum(tensor.nbytes for tensor in (*self.buffers, *self._snapshots.values(), *kept))

    @property
    def kept(self) -> tuple[str, ...]:
        """Digests of the kept prefixes, the one used last at the end."""
        return tuple(prefix.digest for prefix in self._kept.values())

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

    def keep(self, position: int) -> None:
        """Keep the tokens before `position`, where the chunk committed last ends or which are kept already.

        Prefixes that were not used for longest make room. One that is longer than all the room is not kept.
        """
        prefix = tuple(self.tokens[:position])
        if (known := self._kept.pop(prefix, None)) is None:
            if position > KEPT_TOKENS:
                return
            while len(self._kept) >= MAX_KEPT or sum(map(len, self._kept)) + position > KEPT_TOKENS:
                del self._kept[next(iter(self._kept))]
            known = _Kept(prefix_digest(prefix), self._full[:, :, :, :position].clone(), self._sliding_past(position))
        self._kept[prefix] = known

    def restore(self, prompt: Sequence[int]) -> int:
        """Put the longest kept prefix that `prompt` begins with in place of the sequence, if that is a gain.

        Returns the tokens held then, all of them of `prompt` and fewer than it has.
        """
        fitting = (p for p in self._kept if self.length < len(p) < len(prompt) and tuple(prompt[: len(p)]) == p)
        best = max(fitting, key=len, default=None)
        if best is not None:
            state = self._kept[best] = self._kept.pop(best)
            self.rewind(0)
            self._full[:, :, :, : len(best)] = state.full
            self._put_sliding(len(best), state.sliding)
            self.tokens = list(best)
        return self.length

    def rewind(self, position: int) -> int:
        """Forget the tokens from `position` on, or from as little before it as can be done.

        Returns the tokens still held, at most `position`: the caller runs the rest again.
        """
        if not 0 <= position <= self.length:
            raise ValueError(f"cannot rewind {self.length} tokens to {position}")
        if self._sliding_start > max(0, position - self._past):
            position = max((kept for kept in self._snapshots if kept <= position), default=0)
            if position:
                self._put_sliding(position, self._snapshots[position])
            else:
                self._sliding_start = 0
        del self.tokens[position:]
        self._snapshots = {kept: state for kept, state in self._snapshots.items() if kept <= position}
        self._marks = deque(mark for mark in self._marks if mark <= position)
        return position

    def clear(self) -> None:
        """Forget everything."""
        self.rewind(0)
        self._kept.clear()

    def _snapshot(self, position: int) -> None:
        self._snapshots[position] = self._sliding_past(position)

    def _sliding_past(self, position: int) -> Tensor:
        """A copy of what the token at `position`, in or behind the chunk committed last, sees in the sliding layers."""
        end = position - self._sliding_start
        return self._sliding[:, :, :, max(0, end - self._past) : end].clone()

    def _put_sliding(self, position: int, state: Tensor) -> None:
        """Make the sliding buffer end before `position` with what `_sliding_past` gave."""
        self._sliding_start = position - state.shape[3]
        self._sliding[:, :, :, : state.shape[3]] = state
