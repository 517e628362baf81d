"""The gpt-oss transformer in MLX. It takes the same steps as `torch/model.py`, which explains them and their shapes.

The residual stream and the router are float32, products are in the dtype of the weights. Arrays are lazy: they are
computed when they are read. Only `hidden`, which runs chunks of prompts, waits for results on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mlx.core as mx
import numpy as np

from gptoss_tui.engine.config import RMS_NORM_EPS, SWIGLU_ALPHA, ModelConfig
from gptoss_tui.engine.generation import never
from gptoss_tui.engine.metal.device import on_gpu
from gptoss_tui.engine.metal.kv_cache import KVCache
from gptoss_tui.engine.metal.weights import Experts, LayerWeights, ModelWeights
from gptoss_tui.engine.rope import rope_frequencies

SORTED_ROWS = 64
"""From this many rows on, rows are sorted by expert before they are multiplied, so that each expert is read once."""

VECTOR_QUERIES, VECTOR_ROWS = 8, 32
"""For at most `VECTOR_QUERIES` queries, MLX's attention has a kernel if they make at most `VECTOR_ROWS` rows per key
head. With as few queries but more rows, it writes all scores to memory."""


def norm(x: mx.array, scale: mx.array) -> mx.array:
    """x [T, H] divided by its root mean square, times `scale` [H]; float32."""
    return mx.fast.rms_norm(x, scale, RMS_NORM_EPS)


def linear(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
    """x [T, in] times weight [out, in], plus bias."""
    return mx.addmm(bias, x, weight.T)


def gated(gate: mx.array, up: mx.array, limit: float) -> mx.array:
    """The experts' activation: both are clamped, the gate only from above. The linear half has 1 added."""
    gate, up = mx.minimum(gate, limit), mx.clip(up, -limit, limit)
    return gate * mx.sigmoid(SWIGLU_ALPHA * gate) * (up + 1)


def rotated(heads: mx.array, cosine: mx.array, sine: mx.array) -> mx.array:
    """Rotate heads [T, n, D], pairing element i with i + D / 2; cosine and sine are float32 [T, 1, D / 2]."""
    first, second = mx.split(heads.astype(mx.float32), 2, axis=-1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return mx.concatenate(turned, axis=-1).astype(heads.dtype)


def compiled(function: Callable[..., mx.array]) -> Callable[..., mx.array]:
    """Compile a few elementwise operations into one kernel."""
    made: Callable[..., mx.array] = mx.compile(function)
    return made


_gated, _rotated = compiled(gated), compiled(rotated)


def swiglu(x: mx.array, limit: float) -> mx.array:
    """Map [..., 2 I] to [..., I]. Even columns are the gate, odd ones the linear part."""
    # Without a GPU, compiling would need a C++ compiler and gain nothing.
    return (_gated if on_gpu() else gated)(x[..., 0::2], x[..., 1::2], limit)


def route(x: mx.array, layer: LayerWeights, experts_per_token: int) -> tuple[mx.array, mx.array]:
    """The experts of each token [T, k] and their weights [T, k], which sum to 1. x and weights are float32."""
    scores = linear(x, layer.gate_weight, layer.gate_bias)
    chosen = mx.argpartition(-scores, experts_per_token - 1, axis=-1)[:, :experts_per_token]
    return chosen, mx.softmax(mx.take_along_axis(scores, chosen, axis=-1), axis=-1)


def project(x: mx.array, experts: Experts, chosen: mx.array, *, in_order: bool = False) -> mx.array:
    """Multiply each row of x [..., 1, in] by its expert in `chosen` [...]: [..., 1, out]."""
    product = mx.gather_qmm(
        x,
        experts.words,
        experts.scales,
        rhs_indices=chosen,
        transpose=True,
        group_size=32,
        bits=4,
        mode="mxfp4",
        sorted_indices=in_order,
    )
    return product + experts.bias[chosen][..., None, :]


def moe(x: mx.array, chosen: mx.array, weights: mx.array, layer: LayerWeights, limit: float) -> mx.array:
    """The weighted sum of what the experts `chosen` [T, k] make of x [T, H]: float32 [T, H]."""
    tokens, k = chosen.shape
    if tokens * k < SORTED_ROWS:
        up = project(x[:, None, None], layer.mlp1, chosen)
        down = project(swiglu(up, limit), layer.mlp2, chosen)[:, :, 0]
    else:
        flat = chosen.flatten()
        order = mx.argsort(flat)
        back = mx.argsort(order)
        up = project(x[order // k][:, None], layer.mlp1, flat[order], in_order=True)
        down = project(swiglu(up, limit), layer.mlp2, flat[order], in_order=True)[back, 0].reshape(tokens, k, -1)
    return (down.astype(mx.float32) * weights[..., None]).sum(axis=1)


class Transformer:
    """A loaded model. `hidden` runs tokens with a cache; `logits` turns selected states into logits."""

    def __init__(self, config: ModelConfig, weights: ModelWeights, context: int) -> None:
        self.config = config
        self.weights = weights
        frequency, concentration = rope_frequencies(config)
        angles = np.arange(context, dtype=np.float32)[:, None] * frequency
        self._cosine = mx.array(np.cos(angles) * np.float32(concentration))
        self._sine = mx.array(np.sin(angles) * np.float32(concentration))
        self._sinks = [layer.sinks.astype(weights.dtype) for layer in weights.layers]
        self._turn: tuple[int, mx.array, mx.array] | None = None
        mx.eval(self._cosine, self._sine, self._sinks)

    def embed(self, ids: mx.array) -> mx.array:
        """Look up the embeddings of `ids` [T], which begin the residual stream: float32 [T, H]."""
        return self.weights.embedding[ids].astype(mx.float32)

    def hidden(self, ids: mx.array, cache: KVCache, cancelled: Callable[[], bool] = never) -> mx.array | None:
        """Run `ids` [T] after the cached tokens and add them to `cache`; returns states before the last norm [T, H].

        The states are float32. The caller reserves room (`cache.reserve`) and commits the ids afterwards. Returns None
        if `cancelled`, polled after each layer, returned true; the ids must not be committed then.
        """
        x = before = self.embed(ids)
        mask = self._sliding_mask(ids.shape[0], cache)
        for index, layer in enumerate(self.weights.layers):
            x = x + self._attention(x, index, layer, cache, mask)
            x = x + self._experts(x, layer)
            # The GPU works on this layer while we wait for the one before.
            mx.async_eval(x)
            mx.eval(before)
            if cancelled():
                mx.eval(x)
                return None
            before = x
        mx.eval(x)
        return x

    def logits(self, x: mx.array) -> mx.array:
        """Turn the states [P, H] of some positions into logits, float32 [P, vocabulary]."""
        t = norm(x, self.weights.norm).astype(self.weights.dtype)
        return (t @ self.weights.unembedding.T).astype(mx.float32)

    def attend(self, query: mx.array, seen: Sequence[mx.array], index: int, mask: mx.array | str | None) -> mx.array:
        """Attention of query [1, Q, T, D] over the keys and values in `seen`, each [1, K, S, D]: [T, Q * D].

        `mask` is bool [T, S], "causal" (the last query sees all keys), or None.
        """
        tokens, past = query.shape[2], seen[0].shape[2] - query.shape[2]
        at_once = max(1, VECTOR_ROWS * self.config.num_key_value_heads // self.config.num_attention_heads)
        if tokens <= at_once or tokens > VECTOR_QUERIES:
            return self._attend(query, seen, index, mask)
        parts = []
        for first in range(0, tokens, at_once):
            end = min(first + at_once, tokens)
            visible = [array[:, :, : past + end] for array in seen]
            hidden = mask[first:end, : past + end] if isinstance(mask, mx.array) else mask
            parts.append(self._attend(query[:, :, first:end], visible, index, hidden))
        return mx.concatenate(parts)

    def _attend(self, query: mx.array, seen: Sequence[mx.array], index: int, mask: mx.array | str | None) -> mx.array:
        scale, sinks = self.config.head_dim**-0.5, self._sinks[index]
        mixed = mx.fast.scaled_dot_product_attention(query, *seen, scale=scale, mask=mask, sinks=sinks)
        return mixed.swapaxes(1, 2).reshape(query.shape[2], -1)

    def rotary(self, position: int) -> tuple[mx.array, mx.array]:
        """Cosine and sine for one position, each float32 [D / 2]. Cached, since all layers of a step need the same."""
        if self._turn is None or self._turn[0] != position:
            cosine, sine = (table[position : position + 1].squeeze(0) for table in (self._cosine, self._sine))
            self._turn = (position, cosine, sine)
        return self._turn[1:]

    def turned(self, rows: mx.array, position: int) -> tuple[mx.array, mx.array]:
        """Split rows of q, k and v [T, (Q + 2 K) * D] into query [1, Q, T, D] and pair [2, K, T, D].

        The pair is keys and values. Queries and keys are rotated to their positions, the first to `position`.
        """
        tokens, kv = rows.shape[0], self.config.num_key_value_heads
        heads = rows.reshape(tokens, -1, self.config.head_dim)
        cosine, sine = (table[position : position + tokens, None] for table in (self._cosine, self._sine))
        turn = _rotated if on_gpu() else rotated
        turned = turn(heads[:, :-kv], cosine, sine).swapaxes(0, 1)[None]  # q and k together
        return turned[:, :-kv], mx.concatenate((turned[:, -kv:], heads[:, -kv:].swapaxes(0, 1)[None]))

    def _attention(
        self, x: mx.array, index: int, layer: LayerWeights, cache: KVCache, mask: mx.array | None
    ) -> mx.array:
        t = norm(x, layer.attn_norm).astype(self.weights.dtype)
        query, pair = self.turned(linear(t, layer.qkv_weight, layer.qkv_bias), cache.length)
        seen = cache.append(index, pair)
        hidden: mx.array | str | None = mask if self.config.is_sliding(index) else "causal"
        mixed = self.attend(query, seen, index, hidden if x.shape[0] > 1 else None)
        return linear(mixed, layer.out_weight, layer.out_bias).astype(mx.float32)

    def _experts(self, x: mx.array, layer: LayerWeights) -> mx.array:
        t = norm(x, layer.mlp_norm)
        chosen, weights = route(t, layer, self.config.experts_per_token)
        return moe(t.astype(self.weights.dtype), chosen, weights, layer, self.config.swiglu_limit)

    def _sliding_mask(self, tokens: int, cache: KVCache) -> mx.array | None:
        """Which of the newest keys each query of a chunk may see in a sliding layer: bool [T, past + T]."""
        if tokens == 1:
            return None
        past = min(cache.length, self.config.sliding_window - 1)
        query, key = mx.arange(past, past + tokens)[:, None], mx.arange(past + tokens)[None]
        return (key <= query) & (key > query - self.config.sliding_window)
