"""One token through all layers, by steps that are kernels of ours where the device computes them right.

An index such as [0] is a kernel to MLX, which gathers; `squeeze` and slices are views.
"""

from __future__ import annotations

import mlx.core as mx

from gptoss_tui.engine.metal.kv_cache import KVCache
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.metal.steps import Fused, Steps, Twins


class Decoder:
    """Runs tokens one by one. `fused` names the steps that `kernels` does; the others are MLX's operations."""

    def __init__(self, model: Transformer, kernels: Fused | None = None, fused: frozenset[str] = frozenset()) -> None:
        self.model, self.fused = model, fused
        twins = Twins(model)

        def steps(name: str) -> Steps:
            return kernels if kernels is not None and name in fused else twins

        self._qkv, self._output = steps("qkv").qkv, steps("output").output
        self._gate_up, self._down, self.head = steps("gate_up").gate_up, steps("down").down, steps("head").head

    def hidden(self, id: mx.array, cache: KVCache) -> mx.array:
        """Run the token `id` [1] after what `cache` holds and add it to it: its float32 state [H] before the last norm.

        The caller reserves the room and commits the id.
        """
        x = self.model.embed(id).squeeze(0)
        for index, layer in enumerate(self.model.weights.layers):
            query, pair = self._qkv(x, layer, cache.length)
            seen = cache.append(index, pair)
            routed = self._output(self.model.attend(query, seen, index, None).squeeze(0), layer, x)
            x = self._down(self._gate_up(routed, layer), layer, routed.x)
        return x
