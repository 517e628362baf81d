"""The steps of decode, each in two forms: MLX's own operations (`Twins`), and a kernel of ours (`Fused`).

A layer is `qkv`, attention (MLX's), `output`, `router`, `gate_up`, `down`; then comes `head`. Shapes as in `model.py`,
for one token: x float32 [H] is the residual stream, k experts per token.
"""

from __future__ import annotations

from typing import Protocol

import mlx.core as mx

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.kernels.source import SIMDS, Launch, Launcher, Run, Template, kernel
from gptoss_tui.engine.metal.model import Transformer, linear, norm, project, swiglu
from gptoss_tui.engine.metal.sampling import gumbel
from gptoss_tui.engine.metal.weights import LayerWeights

ROWS = 4
"""Rows of a matrix that a simdgroup sums at once, so that enough of memory is on its way."""

OUTPUT_ROWS = 2
"""The same for matrices with few rows: more simdgroups have work."""

LOOPS = 8
"""Times that a threadgroup of the unembedding goes on to further rows."""


class Steps(Protocol):
    """The steps of one model."""

    def qkv(self, x: mx.array, layer: LayerWeights, position: int) -> tuple[mx.array, mx.array]:
        """Query [1, Q, 1, D] and key and value [2, K, 1, D], turned to their position."""
        ...

    def output(self, mixed: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """x plus the projection of what attention gave, [Q * D]."""
        ...

    def router(self, x: mx.array, layer: LayerWeights) -> tuple[mx.array, mx.array]:
        """What the experts get, [H], and their scores, float32 [E]."""
        ...

    def gate_up(self, t: mx.array, scores: mx.array, layer: LayerWeights) -> mx.array:
        """The activations [k, I] of the best experts, the best one first."""
        ...

    def down(self, hidden: mx.array, scores: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """x plus what the best experts make of their activations, weighted."""
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

    def output(self, mixed: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        return x + linear(mixed[None], layer.out_weight, layer.out_bias).squeeze(0).astype(mx.float32)

    def router(self, x: mx.array, layer: LayerWeights) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        t = norm(x[None], layer.mlp_norm)
        return t.squeeze(0).astype(self._dtype), linear(t, layer.gate_weight, layer.gate_bias).squeeze(0)

    def gate_up(self, t: mx.array, scores: mx.array, layer: LayerWeights) -> mx.array:
        """See `Steps`."""
        up = project(t[None, None, None], layer.mlp1, self._best(scores)[None])
        return swiglu(up, self._config.swiglu_limit).squeeze((0, 2))

    def down(self, hidden: mx.array, scores: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        best = self._best(scores)
        weights = mx.softmax(scores[best])
        made = project(hidden[None, :, None], layer.mlp2, best[None]).squeeze((0, 2))
        return x + weights @ made.astype(mx.float32)

    def head(
        self, x: mx.array, allowed: mx.array, key: mx.array, coldness: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """See `Steps`."""
        logits = self._model.logits(x[None]).squeeze(0)
        scores = mx.where(allowed, logits, -mx.inf)
        noise = gumbel(mx.arange(len(logits), dtype=mx.uint32), key)
        drawn = mx.argmax(mx.where(coldness[0] > 0, scores * coldness[0] + noise, scores)).reshape(1)
        return logits, drawn, logits[drawn] - mx.logsumexp(logits)

    def _best(self, scores: mx.array) -> mx.array:
        return mx.argsort(-scores)[: self._config.experts_per_token]


class Fused:
    """The steps as kernels of our own. All that does not change from step to step is made ready once."""

    def __init__(self, model: Transformer, launch: Launcher) -> None:
        self._model, self._launch = model, launch
        base: Template = (("T", model.weights.dtype), ("H", model.config.hidden_size))
        self._qkv, self._output = self._bound_attention(base)
        self._router, self._gate_up, self._down = self._bound_experts(base)
        self._unembed, self._draw = self._bound_head(base)

    def qkv(self, x: mx.array, layer: LayerWeights, position: int) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        rotary = self._model.rotary(position)
        query, pair = self._qkv([x, layer.attn_norm, layer.qkv_weight, layer.qkv_bias, *rotary])
        return query, pair

    def output(self, mixed: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        return self._output([mixed, layer.out_weight, layer.out_bias, x])[0]

    def router(self, x: mx.array, layer: LayerWeights) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        t, scores = self._router([x, layer.mlp_norm, layer.gate_weight, layer.gate_bias])
        return t, scores

    def gate_up(self, t: mx.array, scores: mx.array, layer: LayerWeights) -> mx.array:
        """See `Steps`."""
        experts = layer.mlp1
        return self._gate_up([t, scores, experts.words, experts.scales, experts.bias])[0]

    def down(self, hidden: mx.array, scores: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        experts = layer.mlp2
        return self._down([hidden, scores, experts.words, experts.scales, experts.bias, x])[0]

    def head(
        self, x: mx.array, allowed: mx.array, key: mx.array, coldness: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """See `Steps`. Two kernels: the second one needs what all threadgroups of the first one found."""
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
        output = self._bound(
            "output",
            ("mixed", "weight", "bias", "x"),
            {"after": ((hidden,), mx.float32)},
            (*base, ("WIDTH", config.query_width), ("ROWS", OUTPUT_ROWS)),
            (groups(hidden, OUTPUT_ROWS), 1),
        )
        return qkv, output

    def _bound_experts(self, base: Template) -> tuple[Run, Run, Run]:
        config, dtype, pairs = self._model.config, self._model.weights.dtype, ROWS // 2
        hidden, inter, k = config.hidden_size, config.intermediate_size, config.experts_per_token
        experts: Template = (("E", config.num_experts), ("K", k))
        router = self._bound(
            "router",
            ("x", "scale", "weight", "bias"),
            {"t": ((hidden,), dtype), "scores": ((config.num_experts,), mx.float32)},
            (*base, *experts[:1]),
            (groups(config.num_experts, 1), 1),
        )
        gate_up = self._bound(
            "gate_up",
            ("t", "scores", "words", "scales", "bias"),
            {"hidden": ((k, inter), dtype)},
            (*base, *experts, ("I", inter), ("PAIRS", pairs)),
            (groups(inter, pairs), k),
        )
        down = self._bound(
            "down",
            ("hidden", "scores", "words", "scales", "bias", "x"),
            {"after": ((hidden,), mx.float32)},
            (*base, *experts, ("I", inter), ("ROWS", OUTPUT_ROWS)),
            (groups(hidden, OUTPUT_ROWS), 1),
        )
        return router, gate_up, down

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


def can_fuse(config: ModelConfig) -> bool:
    """Whether the kernels take a model of this shape: they load 4 values, and MLX passes short arrays otherwise."""
    return config.head_dim % 8 == 0 and config.num_experts >= 8


def groups(items: int, each: int) -> int:
    """Threadgroups for `items`, of which a simdgroup takes `each`."""
    return -(-items // (SIMDS * each))
