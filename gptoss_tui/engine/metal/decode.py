"""Runs one token through all layers, using our own kernels for the steps that this device computes right.

To remove an axis, use `squeeze` or a slice, which are views: indexing with [0] makes MLX run a gather kernel.
"""

from __future__ import annotations

import mlx.core as mx

from gptoss_tui.engine.metal.kv_cache import KVCache
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.metal.steps import Fused, Steps, Twins


class Decoder:
    """Runs tokens one by one. `fused` names the steps that use `kernels`; the others use MLX's operations."""

    def __init__(self, model: Transformer, kernels: Fused | None = None, fused: frozenset[str] = frozenset()) -> None:
        self.model, self.fused = model, fused
        twins = Twins(model)

        def steps(name: str) -> Steps:
            return kernels if kernels is not None and name in fused else twins

        self._qkv, self._output = steps("qkv").qkv, steps("output").output
        self._gate_up, self._down, self.head = steps("gate_up").gate_up, steps("down").down, steps("head").head

    def hidden(self, id: mx.array, cache: KVCache) -> mx.array:
        """Run the token `id` [1] after the cached tokens; returns its state before the last norm, float32 [H].

        Its keys and values are written to `cache`; the caller reserves room and commits the id.
        """
        x = self.model.embed(id).squeeze(0)
        for index, layer in enumerate(self.model.weights.layers):
            query, pair = self._qkv(x, layer, cache.length)
            seen = cache.append(index, pair)
            routed = self._output(self.model.attend(query, seen, index, None).squeeze(0), layer, x)
            x = self._down(self._gate_up(routed, layer), layer, routed.x)
        return x
