"""The steps of decode, each in two forms: MLX's own operations (`Twins`), and a kernel of ours (`Fused`).

A layer is `qkv`, attention (MLX's), `output`, `router`, `gate_up`, `down`; then comes `head`. Shapes as in `model.py`,
for one token: x float32 [H] is the residual stream, k experts per token.
"""

from __future__ import annotations

from typing import Protocol

import mlx.core as mx

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.kernels.source import SIMDS, Launch, Launcher, Template, kernel
from gptoss_tui.engine.metal.model import Transformer, linear, norm, project, swiglu
from gptoss_tui.engine.metal.sampling import gumbel
from gptoss_tui.engine.metal.weights import LayerWeights

NAMES = ("qkv", "output", "router", "gate_up", "down", "head")

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
        return x + linear(mixed[None], layer.out_weight, layer.out_bias)[0].astype(mx.float32)

    def router(self, x: mx.array, layer: LayerWeights) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        t = norm(x[None], layer.mlp_norm)
        return t[0].astype(self._dtype), linear(t, layer.gate_weight, layer.gate_bias)[0]

    def gate_up(self, t: mx.array, scores: mx.array, layer: LayerWeights) -> mx.array:
        """See `Steps`."""
        up = project(t[None, None, None], layer.mlp1, self._best(scores)[None])
        return swiglu(up, self._config.swiglu_limit)[0, :, 0]

    def down(self, hidden: mx.array, scores: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        best = self._best(scores)
        weights = mx.softmax(scores[best])
        made = project(hidden[None, :, None], layer.mlp2, best[None])[0, :, 0]
        return x + weights @ made.astype(mx.float32)

    def head(
        self, x: mx.array, allowed: mx.array, key: mx.array, coldness: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """See `Steps`."""
        logits = self._model.logits(x[None])[0]
        scores = mx.where(allowed, logits, -mx.inf)
        noise = gumbel(mx.arange(len(logits), dtype=mx.uint32), key)
        drawn = mx.argmax(mx.where(coldness[0] > 0, scores * coldness[0] + noise, scores)).reshape(1)
        return logits, drawn, logits[drawn] - mx.logsumexp(logits)

    def _best(self, scores: mx.array) -> mx.array:
        return mx.argsort(-scores)[: self._config.experts_per_token]


class Fused:
    """The steps as kernels of our own."""

    def __init__(self, model: Transformer, launch: Launcher) -> None:
        self._model, self._config, self._dtype = model, model.config, model.weights.dtype
        self._launch = launch
        config = self._config
        self._experts: Template = (("E", config.num_experts), ("K", config.experts_per_token))
        self._hidden: Template = (("T", self._dtype), ("H", config.hidden_size))

    def qkv(self, x: mx.array, layer: LayerWeights, position: int) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        config, pairs = self._config, ROWS // 2
        q, k, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        cosine, sine = self._model.rotary(position)
        query, pair = self._run(
            "qkv",
            {
                "x": x,
                "scale": layer.attn_norm,
                "weight": layer.qkv_weight,
                "bias": layer.qkv_bias,
                "cosine": cosine,
                "sine": sine,
            },
            {"query": ((1, q, 1, dim), self._dtype), "pair": ((2, k, 1, dim), self._dtype)},
            (*self._hidden, ("D", dim), ("Q", q), ("K", k), ("HEADS", q + 2 * k), ("PAIRS", pairs)),
            (_groups(config.qkv_width // 2, pairs), 1),
        )
        return query, pair

    def output(self, mixed: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        hidden = self._config.hidden_size
        (after,) = self._run(
            "output",
            {"mixed": mixed, "weight": layer.out_weight, "bias": layer.out_bias, "x": x},
            {"after": ((hidden,), mx.float32)},
            (*self._hidden, ("WIDTH", self._config.query_width), ("ROWS", OUTPUT_ROWS)),
            (_groups(hidden, OUTPUT_ROWS), 1),
        )
        return after

    def router(self, x: mx.array, layer: LayerWeights) -> tuple[mx.array, mx.array]:
        """See `Steps`."""
        config = self._config
        t, scores = self._run(
            "router",
            {"x": x, "scale": layer.mlp_norm, "weight": layer.gate_weight, "bias": layer.gate_bias},
            {"t": ((config.hidden_size,), self._dtype), "scores": ((config.num_experts,), mx.float32)},
            (*self._hidden, *self._experts[:1]),
            (_groups(config.num_experts, 1), 1),
        )
        return t, scores

    def gate_up(self, t: mx.array, scores: mx.array, layer: LayerWeights) -> mx.array:
        """See `Steps`."""
        config, pairs = self._config, ROWS // 2
        (hidden,) = self._run(
            "gate_up",
            {
                "t": t,
                "scores": scores,
                "words": layer.mlp1.words,
                "scales": layer.mlp1.scales,
                "bias": layer.mlp1.bias,
            },
            {"hidden": ((config.experts_per_token, config.intermediate_size), self._dtype)},
            (*self._hidden, *self._experts, ("I", config.intermediate_size), ("PAIRS", pairs)),
            (_groups(config.intermediate_size, pairs), config.experts_per_token),
        )
        return hidden

    def down(self, hidden: mx.array, scores: mx.array, layer: LayerWeights, x: mx.array) -> mx.array:
        """See `Steps`."""
        config = self._config
        (after,) = self._run(
            "down",
            {
                "hidden": hidden,
                "scores": scores,
                "words": layer.mlp2.words,
                "scales": layer.mlp2.scales,
                "bias": layer.mlp2.bias,
                "x": x,
            },
            {"after": ((config.hidden_size,), mx.float32)},
            (*self._hidden, *self._experts, ("I", config.intermediate_size), ("ROWS", OUTPUT_ROWS)),
            (_groups(config.hidden_size, OUTPUT_ROWS), 1),
        )
        return after

    def head(
        self, x: mx.array, allowed: mx.array, key: mx.array, coldness: mx.array
    ) -> tuple[mx.array, mx.array, mx.array]:
        """See `Steps`. Two kernels: the second one needs what all threadgroups of the first one found."""
        weights, vocab = self._model.weights, self._config.vocab_size
        groups = _groups(vocab, ROWS * LOOPS)
        logits, *parts = self._run(
            "unembed",
            {
                "x": x,
                "scale": weights.norm,
                "weight": weights.unembedding,
                "allowed": allowed,
                "key": key,
                "coldness": coldness,
            },
            {
                "logits": ((vocab,), mx.float32),
                "best": ((groups,), mx.float32),
                "best_id": ((groups,), mx.uint32),
                "largest": ((groups,), mx.float32),
                "total": ((groups,), mx.float32),
            },
            (*self._hidden, ("V", vocab), ("ROWS", ROWS), ("LOOPS", LOOPS)),
            (groups, 1),
        )
        drawn, logprob = self._run(
            "draw",
            dict(zip(("best", "best_id", "largest", "total"), parts, strict=True)) | {"logits": logits},
            {"id": ((1,), mx.uint32), "logprob": ((1,), mx.float32)},
            (("V", vocab), ("G", groups)),
            (1, 1),
        )
        return logits, drawn, logprob

    def _run(
        self,
        name: str,
        inputs: dict[str, mx.array],
        outputs: dict[str, tuple[tuple[int, ...], mx.Dtype]],
        template: Template,
        groups: tuple[int, int],
    ) -> list[mx.array]:
        source = kernel(name, tuple(inputs), tuple(outputs), self._config.swiglu_limit)
        shapes, dtypes = zip(*outputs.values(), strict=True)
        return self._launch(source, list(inputs.values()), Launch(template, groups, shapes, dtypes))


def can_fuse(config: ModelConfig) -> bool:
    """Whether the kernels take a model of this shape: they load 4 values, and MLX passes short arrays otherwise."""
    return config.head_dim % 8 == 0 and config.num_experts >= 8


def _groups(items: int, each: int) -> int:
    """Threadgroups for `items`, of which a simdgroup takes `each`."""
    return -(-items // (SIMDS * each))
