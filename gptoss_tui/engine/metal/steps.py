"""The steps of decode, each in two forms: MLX's own operations (`Twins`) and kernels of our own (`Fused`).

A layer runs `qkv`, attention (MLX's), `output`, `gate_up` and `down`; `head` comes after the last layer. Shapes are
those of `model.py` for one token: x float32 [H] is the residual stream, k the number of experts per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.kernels.source import SIMDS, Launch, Launcher, Run, Template, kernel
from gptoss_tui.engine.metal.model import Transformer, linear, norm, project, swiglu
from gptoss_tui.engine.metal.sampling import gumbel
from gptoss_tui.engine.metal.weights import LayerWeights

ROWS = 4
"""Rows of a matrix that a simdgroup sums at once, so that enough memory reads are in flight."""

OUTPUT_ROWS = 2
"""The same for matrices with few rows: fewer at once, so that more simdgroups have work."""

LOOPS = 8
"""How many times a threadgroup of the unembedding takes a set of rows."""

GATE_UP_LOOPS = 3
"""The same for the experts, where each threadgroup first has to add up the router's partial sums from `output`."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The results of `output`: x and what the experts need of it, with the norm and the router still in partial sums.

    t [H] in the model's dtype is x times the scale of the norm. `parts` float32 [G, E] and `squares` float32 [G] are
    the contributions of G parts of x to its products with the router and to the sum of its squares.
    """

    x: mx.array
    t: mx.array
    parts: mx.array
    squares: mx.array


@dataclass(frozen=True, slots=True)
class Activated:
    """The activations [k, I] of the best experts, the best one first, their ids uint32 [k] and weights float32 [k]."""

    hidden: mx.array
    chosen: mx.array
    shares: mx.array


class Steps(Protocol):
    """The steps of one model."""

    def qkv(self, x: mx.array, layer: LayerWeights, position: int) -> tuple[mx.array, mx.array]:
        """Query [1, Q, 1, D], and key and value [2, K, 1, D]; query and key are rotated to their position."""
        ...

    def output(self, mixed: mx.array, layer: LayerWeights, x: mx.array) -> Routed:
        """x plus the projection of attention's result `mixed` [Q * D], prepared for the experts and the router."""
        ...

    def gate_up(self, routed: Routed, layer: LayerWeights) -> Activated:
        """The best experts and their activations."""
        ...

    def down(self, activated: Activated, layer: LayerWeights, x: mx.array) -> mx.array:
        """x plus the weighted outputs of the best experts for their activations."""
        ...

    def head(
        self, x: mx.array, allowed: mx.array, key: mx.array, coldness: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """Logits float32 [V], the id drawn among those allowed, uint32 [1], and its log-probability, float32 [1].

        `coldness` float32 [1] is one over the temperature; 0 draws the likeliest.
        """
        ...


class Twins:
    """The steps in MLX's operations."""

    def __init__(self, model: Transformer) -> None:
        self._model, self._config, self._dtype = model, model.config, model.weights.dtype

    def qkv(self, x: mx.array, layer: LayerWeights, position: int) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        t = norm(x[None], layer.attn_norm).astype(self._dtype)
        return self._model.turned(linear(t, layer.qkv_weight, layer.qkv_bias), position)

    def output(self, mixed: mx.array, layer: LayerWeights, x: mx.array) -> Routed:
        """See `Steps`. The parts that only kernels read are not computed unless they are used: arrays are lazy."""
        after = x + linear(mixed[None], layer.out_weight, layer.out_bias).squeeze(0).astype(mx.float32)
        return routed(after, layer, self._dtype)

    def gate_up(self, routed: Routed, layer: LayerWeights) -> Activated:
        """See `Steps`. Computed from x alone, in the dtype of t."""
        t = norm(routed.x[None], layer.mlp_norm)
        scores = linear(t, layer.gate_weight, layer.gate_bias).squeeze(0)
        best = mx.argsort(-scores)[: self._config.experts_per_token]
        up = project(t.astype(routed.t.dtype)[None, None], layer.mlp1, best[None])
        return Activated(swiglu(up, self._config.swiglu_limit).squeeze((0, 2)), best, mx.softmax(scores[best]))

    def down(self, activated: Activated, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        made = project(activated.hidden[None, :, None], layer.mlp2, activated.chosen[None]).squeeze((0, 2))
        return x + activated.shares @ made.astype(mx.float32)

    def head(
        self, x: mx.array, allowed: mx.array, key: mx.array, coldness: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """See `Steps`."""
        logits = self._model.logits(x[None]).squeeze(0)
        scores = mx.where(allowed, logits, -mx.inf)
        noise = gumbel(mx.arange(len(logits), dtype=mx.uint32), key)
        drawn = mx.argmax(mx.where(coldness[0] > 0, scores * coldness[0] + noise, scores)).reshape(1)
        return logits, drawn, logits[drawn] - mx.logsumexp(logits)


class Fused:
    """The steps as kernels of our own. Everything that does not change from step to step is prepared once."""

    def __init__(self, model: Transformer, launch: Launcher) -> None:
        self._model, self._launch = model, launch
        base: Template = (("T", model.weights.dtype), ("H", model.config.hidden_size))
        self._qkv, self._output = self._bound_attention(base)
        self._gate_up, self._down = self._bound_experts(base)
        self._unembed, self._draw = self._bound_head(base)

    def qkv(self, x: mx.array, layer: LayerWeights, position: int) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        rotary = self._model.rotary(position)
        query, pair = self._qkv([x, layer.attn_norm, layer.qkv_weight, layer.qkv_bias, *rotary])
        return query, pair

    def output(self, mixed: mx.array, layer: LayerWeights, x: mx.array) -> Routed:
        """See `Steps`."""
        return Routed(*self._output([mixed, layer.out_weight, layer.out_bias, x, layer.mlp_norm, layer.gate_weight]))

    def gate_up(self, routed: Routed, layer: LayerWeights) -> Activated:
        """See `Steps`."""
        sums, experts = [routed.parts, routed.squares, layer.gate_bias], layer.mlp1
        return Activated(*self._gate_up([routed.t, *sums, experts.words, experts.scales, experts.bias]))

    def down(self, activated: Activated, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        chosen, experts = [activated.hidden, activated.chosen, activated.shares], layer.mlp2
        return self._down([*chosen, experts.words, experts.scales, experts.bias, x])[0]

    def head(
        self, x: mx.array, allowed: mx.array, key: mx.array, coldness: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """See `Steps`. Takes two kernels, since the second needs the results of all threadgroups of the first."""
        weights = self._model.weights
        logits, *parts = self._unembed([x, weights.norm, weights.unembedding, allowed, key, coldness])
        drawn, logprob = self._draw([*parts, logits])
        return logits, drawn, logprob

    def _bound_attention(self, base: Template) -> tuple[Run, Run]:
        config, dtype, pairs = self._model.config, self._model.weights.dtype, ROWS // 2
        hidden, q, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        qkv = self._bound(
            "qkv",
            ("x", "scale", "weight", "bias", "cosine", "sine"),
            {"query": ((1, q, 1, config.head_dim), dtype), "pair": ((2, kv, 1, config.head_dim), dtype)},
            (*base, ("D", config.head_dim), ("Q", q), ("K", kv), ("HEADS", q + 2 * kv), ("PAIRS", pairs)),
            (groups(config.qkv_width // 2, pairs), 1),
        )
        experts, count = config.num_experts, groups(hidden, OUTPUT_ROWS)
        output = self._bound(
            "output",
            ("mixed", "weight", "bias", "x", "scale", "gate"),
            {
                "after": ((hidden,), mx.float32),
                "t": ((hidden,), dtype),
                "parts": ((count, experts), mx.float32),
                "squares": ((count,), mx.float32),
            },
            (*base, ("WIDTH", config.query_width), ("E", experts), ("ROWS", OUTPUT_ROWS)),
            (count, 1),
        )
        return qkv, output

    def _bound_experts(self, base: Template) -> tuple[Run, Run]:
        config, dtype, pairs = self._model.config, self._model.weights.dtype, ROWS // 2
        hidden, inter, k = config.hidden_size, config.intermediate_size, config.experts_per_token
        experts: Template = (("I", inter), ("K", k))
        parts: Template = (("E", config.num_experts), ("G", groups(hidden, OUTPUT_ROWS)))
        gate_up = self._bound(
            "gate_up",
            ("t", "parts", "squares", "router_bias", "words", "scales", "bias"),
            {"hidden": ((k, inter), dtype), "chosen": ((k,), mx.uint32), "shares": ((k,), mx.float32)},
            (*base, *experts, *parts, ("PAIRS", pairs), ("LOOPS", GATE_UP_LOOPS)),
            (groups(inter, pairs * GATE_UP_LOOPS), k),
        )
        down = self._bound(
            "down",
            ("hidden", "chosen", "shares", "words", "scales", "bias", "x"),
            {"after": ((hidden,), mx.float32)},
            (*base, *experts, ("ROWS", OUTPUT_ROWS)),
            (groups(hidden, OUTPUT_ROWS), 1),
        )
        return gate_up, down

    def _bound_head(self, base: Template) -> tuple[Run, Run]:
        vocab = self._model.config.vocab_size
        count = groups(vocab, ROWS * LOOPS)
        found = dict.fromkeys(("best", "best_id", "largest", "total"), ((count,), mx.float32))
        unembed = self._bound(
            "unembed",
            ("x", "scale", "weight", "allowed", "key", "coldness"),
            {"logits": ((vocab,), mx.float32), **found, "best_id": ((count,), mx.uint32)},
            (*base, ("V", vocab), ("ROWS", ROWS), ("LOOPS", LOOPS)),
            (count, 1),
        )
        draw = self._bound(
            "draw",
            (*found, "logits"),
            {"id": ((1,), mx.uint32), "logprob": ((1,), mx.float32)},
            (("V", vocab), ("G", count)),
            (1, 1),
        )
        return unembed, draw

    def _bound(
        self,
        name: str,
        inputs: tuple[str, ...],
        outputs: dict[str, tuple[tuple[int, ...], mx.Dtype]],
        template: Template,
        grid: tuple[int, int],
    ) -> Run:
        source = kernel(name, inputs, tuple(outputs), self._model.config.swiglu_limit)
        shapes, dtypes = zip(*outputs.values(), strict=True)
        return self._launch(source, Launch(template, grid, shapes, dtypes))


def routed(x: mx.array, layer: LayerWeights, dtype: mx.Dtype) -> Routed:
    """The result of `output` for x, by MLX's operations, with as many parts as its kernel has threadgroups."""
    scaled, count = x * layer.mlp_norm, groups(len(x), OUTPUT_ROWS)
    parts = (layer.gate_weight * scaled).reshape(-1, count, len(x) // count).sum(axis=-1).swapaxes(0, 1)
    return Routed(x, scaled.astype(dtype), parts, (x * x).reshape(count, -1).sum(axis=-1))


def can_fuse(config: ModelConfig) -> bool:
    """Whether the kernels support models of this shape.

    They load 4 values at a time, the rows of `output` must fill whole threadgroups, and MLX passes arrays of fewer than
    8 elements in another address space.
    """
    return config.head_dim % 8 == 0 and config.hidden_size % (SIMDS * OUTPUT_ROWS) == 0 and config.num_experts >= 8


def groups(items: int, each: int) -> int:
    """How many threadgroups `items` need if each simdgroup takes `each` of them."""
    return -(-items // (SIMDS * each))
