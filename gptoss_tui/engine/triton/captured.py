"""Runs short chunks as captured graphs: the host would take longer to launch their kernels than the device to run them.

A chunk is padded to the next captured size with copies of its last token. Attention is causal, so no token of the chunk
sees them, and the next tokens overwrite their keys, as they do with those of wrong drafts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.triton.memory import CAPTURED_TOKENS
from gptoss_tui.engine.triton.prefill import Prefill

SIZES = (16, 32, 64, 96, 128, 192, 256, 384, CAPTURED_TOKENS)
"""Sizes in tokens. Longer chunks keep the device busy for longer than their launches take."""

STRIDE = 31
"""Step between the token ids that a graph is tested with."""

TOLERANCE = 1e-2
"""Relative to the norm of the residual stream: in a graph, the vendor's library may compute a product differently."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk of one size. It reads `ids` int64 [T] and writes `states` float32 [T, H]."""

    ids: Tensor
    states: Tensor
    graph: torch.cuda.CUDAGraph | None  # None in Triton's interpreter, where nothing can be captured


class CapturedChunks:
    """Runs chunks as `Prefill` does, but short ones as graphs."""

    def __init__(self, prefill: Prefill) -> None:
        self._prefill = prefill
        self._chunks: dict[int, _Chunk] = {}
        self._on_gpu = prefill.weights.device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if self._on_gpu else None  # shared: no two of them run at once

    def capture(self, most: int) -> bool:
        """Capture all sizes up to `most`. Returns False if that fails; every chunk is then launched kernel by kernel.

        The cache must be empty, with room for `most` tokens, and the position must be 0.
        """
        chunks: dict[int, _Chunk] = {}
        try:
            for size in sorted(SIZES, reverse=True):  # the others reuse the memory of the largest
                if size <= most:
                    chunk = self._captured(size, most)
                    if chunk is None:
                        return False
                    chunks[size] = chunk
        except RuntimeError:  # from torch: out of memory, or a library call that cannot be captured
            return False
        self._chunks = dict(sorted(chunks.items()))
        return True

    def room(self, tokens: int) -> int:
        """How many tokens the cache must have room for if the next chunk has `tokens`: the padding needs room too."""
        cache = self._prefill.decoder.cache
        size = next((size for size in self._chunks if size >= tokens), tokens)
        return size if cache.length + size <= cache.context else tokens

    def run(self, ids: Tensor) -> Tensor:
        """Like `Prefill.run`, but the caller has to reserve room for `room(len(ids))` tokens."""
        tokens = len(ids)
        chunk = self._chunks.get(self.room(tokens))
        if chunk is None:
            return self._prefill.run(ids)
        chunk.ids[:tokens] = ids
        chunk.ids[tokens:] = ids[-1]
        if chunk.graph is None:
            chunk.states.copy_(self._prefill.run(chunk.ids))
        else:
            chunk.graph.replay()
        return chunk.states[:tokens].clone()

    def _captured(self, size: int, most: int) -> _Chunk | None:
        """Capture the graph of a size; None if its results differ from those of the same kernels launched one by one.

        It is tested with other tokens than it was captured with and, where there is room, at another position.
        """
        weights, position = self._prefill.weights, self._prefill.decoder.state.position
        ids = torch.arange(size, device=weights.device) * STRIDE % self._prefill.config.vocab_size
        states = self._prefill.run(ids)  # compiles the kernels
        if not self._on_gpu:
            return _Chunk(ids, states, None)
        graph = torch.cuda.CUDAGraph()
        # If a capture fails, torch leaves its stream current; the outer context restores the one before.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=self._pool):
            states = self._prefill.run(ids)
        ids.copy_(ids.flip(0))
        position.fill_(min(1, most - size))
        graph.replay()
        got = states.clone()
        expected = self._prefill.run(ids)
        position.zero_()
        same = float((got - expected).norm()) <= TOLERANCE * float(expected.norm())
        return _Chunk(ids, states, graph) if same else None
