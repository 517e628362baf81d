"""Short chunks as captured graphs: launching their kernels takes the host longer than running them takes the device.

A chunk is filled up to the next captured size with copies of its last token. They stand behind it: none of its tokens
looks there, and the next ones overwrite their keys, as they do with those of drafts that were wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.triton.memory import CAPTURED_TOKENS
from gptoss_tui.engine.triton.prefill import Prefill

SIZES = (16, 32, 64, 96, 128, 192, 256, 384, CAPTURED_TOKENS)
"""Tokens. Longer chunks keep the device busy for longer than their launches take."""

STRIDE = 31
"""Between the ids of the tokens that a graph is tried with."""

TOLERANCE = 1e-2
"""Of the norm of the residual stream: the vendor's library may take another way to the same product in a graph."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk of one size. `ids` int64 [T] are what it reads, `states` float32 [T, H] what it leaves."""

    ids: Tensor
    states: Tensor
    graph: torch.cuda.CUDAGraph | None  # None where nothing can be captured: in the interpreter


class CapturedChunks:
    """Runs chunks as `Prefill` does, short ones by their graphs."""

    def __init__(self, prefill: Prefill) -> None:
        self._prefill = prefill
        self._chunks: dict[int, _Chunk] = {}
        self._on_gpu = prefill.weights.device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if self._on_gpu else None  # for all: no two of them run at once

    def capture(self, most: int) -> bool:
        """Capture all sizes up to `most`. False when they cannot be: then every chunk is launched kernel by kernel.

        The cache is empty and has room for `most` tokens, and the position is 0.
        """
        chunks: dict[int, _Chunk] = {}
        try:
            for size in sorted(SIZES, reverse=True):  # the largest one's memory does for the others
                if size <= most:
                    chunk = self._captured(size, most)
                    if chunk is None:
                        return False
                    chunks[size] = chunk
        except RuntimeError:  # of torch: no memory, or a library that cannot be captured
            return False
        self._chunks = dict(sorted(chunks.items()))
        return True

    def room(self, tokens: int) -> int:
        """Tokens that the cache has to have room for when so many come next."""
        cache = self._prefill.decoder.cache
        size = next((size for size in self._chunks if size >= tokens), tokens)
        return size if cache.length + size <= cache.context else tokens

    def run(self, ids: Tensor) -> Tensor:
        """As `Prefill.run`; what the caller reserves is `room`."""
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
        """The graph of a size; None when it computes something else than the same kernels launched one by one.

        It is tried with other tokens than those that it was captured with, and where there is room at another position.
        """
        weights, position = self._prefill.weights, self._prefill.decoder.state.position
        ids = torch.arange(size, device=weights.device) * STRIDE % self._prefill.config.vocab_size
        states = self._prefill.run(ids)  # compiles the kernels
        if not self._on_gpu:
            return _Chunk(ids, states, None)
        graph = torch.cuda.CUDAGraph()
        # When a capture fails, torch leaves its stream current: hence the one around it.
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
