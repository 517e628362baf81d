"""The gpt-oss transformer in plain torch: the readable reference implementation, which runs on any CPU.

Read it from top to bottom: norm, rotary positions, attention with sinks, experts, layer, model. Shapes: T tokens of
this call, S visible keys, H hidden, Q query heads, K key/value heads, D head_dim, G = Q / K, E experts, I intermediate.
One sequence, no batch: a front end has one conversation, and its history lives in the `KVCache`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from gptoss_tui.engine.config import RMS_NORM_EPS, SWIGLU_ALPHA, ModelConfig
from gptoss_tui.engine.torch.expert_cache import ExpertCache
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.memory import SCORE_TILE
from gptoss_tui.engine.torch.weights import LayerWeights, ModelWeights

# Bytes. In a smaller layer, one token is done before a second thread has woken up: nano, with 2.5 MB per layer, takes
# 12 to 15 ms for its layers on one thread and 15 to 21 on two (AMD EPYC), and leaves the other core to the front end.
SMALL_LAYER = 8 << 20


def rms_norm(x: Tensor, scale: Tensor) -> Tensor:
    """x [T, H] divided by its root mean square, times `scale` float32 [H]; in float32, rounded once at the end."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + RMS_NORM_EPS) * scale).to(x.dtype)


def rope_frequencies(config: ModelConfig) -> tuple[Tensor, float]:
    """Radians per position float32 [D / 2], and the factor for cos and sin: YaRN "by parts", arXiv 2309.00071.

    Fast dimensions keep their frequency, slow ones are stretched by the scaling factor, and a linear ramp connects
    them. The bounds of the ramp are not rounded.
    """
    half = config.head_dim // 2
    base, factor = config.rope_theta, config.rope_scaling_factor
    period = base ** (torch.arange(half, dtype=torch.float32) / half)
    if factor == 1.0:
        return 1.0 / period, 1.0

    def dimension(rotations: float) -> float:
        """The dimension that rotates `rotations` times within the initial context."""
        return half * math.log(config.initial_context_length / (rotations * 2 * math.pi)) / math.log(base)

    low, high = dimension(config.rope_ntk_beta), dimension(config.rope_ntk_alpha)
    stretch = ((torch.arange(half, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    return 1.0 / (factor * period) * stretch + 1.0 / period * (1 - stretch), 0.1 * math.log(factor) + 1.0


def rope_tables(config: ModelConfig, context: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of every position, each [context, 1, D / 2]: computed in float32, rounded to `dtype`."""
    frequency, concentration = rope_frequencies(config)
    angles = torch.arange(context, dtype=torch.float32)[:, None, None] * frequency
    return (angles.cos() * concentration).to(dtype), (angles.sin() * concentration).to(dtype)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x [T, heads, D] to its positions: element i pairs with i + D / 2. cos, sin: [T, 1, D / 2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def hidden_keys(queries: int, past: int, window: int | None, device: torch.device) -> Tensor | None:
    """Mask of the `past` + `queries` newest keys that each query must not see: bool [T, past + T], None for no mask.

    A query sees itself and earlier keys, at most `window` keys in total. `past` is smaller than the window.
    """
    if queries == 1:
        return None
    seen = torch.ones(queries, past + queries, dtype=torch.bool, device=device).tril_(past)
    return ~(seen if window is None else seen.triu_(past - window + 1))


def attend(query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor, hidden: Tensor | None) -> Tensor:
    """Softmax attention with one sink logit per head: [T, Q * D].

    query [T, Q, D]; keys, values [K, S, D]; query head h uses key/value head h // G. sinks [Q]: an unscaled score that
    takes part in the softmax but has no value. hidden: bool [T, n], for the newest n keys.
    Scores are in the dtype of the query, their softmax is in float32.
    """
    tokens = query.shape[0]
    if tokens == 1 and query.device.type == "cpu":
        return _attend_token(query, keys, values, sinks)
    tile = max(1, SCORE_TILE // (query.shape[1] * keys.shape[1]))
    if tokens <= tile:
        return _attend_tile(query, keys, values, sinks, hidden)
    tiles = (slice(at, at + tile) for at in range(0, tokens, tile))
    return torch.cat(
        [_attend_tile(query[t], keys, values, sinks, None if hidden is None else hidden[t]) for t in tiles]
    )


def _attend_token(query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor) -> Tensor:
    """One query on a CPU, fused: softmax over the keys alone, scaled by the keys' share of the mass including the sink.

    oneDNN would compile a new matrix product for each number of keys, which takes longer than running it.
    """
    grouped = query.view(1, keys.shape[0], -1, query.shape[2])
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    mixed, log_mass = fused(grouped, keys[None], values[None])  # [1, K, G, D], float32 [1, K, G]
    share = torch.sigmoid(log_mass - sinks.view(1, keys.shape[0], -1))
    shared: Tensor = share[..., None] * mixed
    return shared.to(query.dtype).reshape(1, -1)


def _attend_tile(query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor, hidden: Tensor | None) -> Tensor:
    tokens, heads, dim = query.shape
    groups = heads // keys.shape[0]
    grouped = (query * dim**-0.5).view(tokens, -1, groups, dim).permute(1, 2, 0, 3).reshape(-1, groups * tokens, dim)
    scores = torch.bmm(grouped, keys.transpose(1, 2))  # [K, G * T, S]
    if hidden is not None:
        newest = scores.view(-1, groups, tokens, keys.shape[1])[..., -hidden.shape[1] :]
        newest.masked_fill_(hidden, -torch.inf)
    sink = sinks.view(-1, groups, 1, 1).expand(-1, -1, tokens, 1).reshape(-1, groups * tokens, 1)
    shares = torch.softmax(torch.cat((scores, sink), dim=-1), dim=-1, dtype=torch.float32).to(values.dtype)
    mixed = torch.bmm(shares[..., :-1], values)  # [K, G * T, D]
    return mixed.view(-1, groups, tokens, dim).permute(2, 0, 1, 3).reshape(tokens, heads * dim)


def swiglu(x: Tensor, limit: float) -> Tensor:
    """[..., 2 I] to [..., I]. Even columns are the gate, odd ones are linear. Both are clamped, the gate only above."""
    gate, linear = x[..., 0::2].clamp(max=limit), x[..., 1::2].clamp(-limit, limit)
    return gate * torch.sigmoid(SWIGLU_ALPHA * gate) * (linear + 1)


def route(x: Tensor, layer: LayerWeights, experts_per_token: int) -> tuple[Tensor, Tensor]:
    """Experts of each token [T, k] and their weights float32 [T, k], which sum to 1: the softmax comes after top-k."""
    scores, experts = F.linear(x, layer.gate_weight, layer.gate_bias).topk(experts_per_token, dim=-1)
    return experts, torch.softmax(scores, dim=-1, dtype=torch.float32)


def moe_token(x: Tensor, layer: LayerWeights, config: ModelConfig, cache: ExpertCache) -> Tensor:
    """The experts' output for one token, x [1, H]."""
    experts, weights = route(x, layer, config.experts_per_token)
    chosen = experts[0].tolist()
    up = torch.cat([F.linear(x, cache.weight(layer.mlp1, e, x.dtype), layer.mlp1.bias[e]) for e in chosen])
    hidden = torch.split(swiglu(up, config.swiglu_limit), 1)
    down = [
        F.linear(h, cache.weight(layer.mlp2, e, x.dtype), layer.mlp2.bias[e])
        for h, e in zip(hidden, chosen, strict=True)
    ]
    return weights.to(x.dtype) @ torch.cat(down)


def moe_chunk(x: Tensor, layer: LayerWeights, config: ModelConfig) -> Tensor:
    """The experts' output for a chunk, x [T, H]: expert by expert, so that only one is unpacked at a time.

    Experts that no token of the chunk selected are not touched. The weighted sum is in float32.
    """
    experts, weights = route(x, layer, config.experts_per_token)
    order = experts.flatten().argsort(stable=True)  # [T * k], grouped by expert
    tokens, shares = order // config.experts_per_token, weights.flatten()[order, None]
    total = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    end = 0
    for expert, count in enumerate(experts.flatten().bincount(minlength=config.num_experts).tolist()):
        start, end = end, end + count
        if count == 0:
            continue
        rows = tokens[start:end]
        up = F.linear(x[rows], layer.mlp1.weight(expert, x.dtype), layer.mlp1.bias[expert])
        down = F.linear(swiglu(up, config.swiglu_limit), layer.mlp2.weight(expert, x.dtype), layer.mlp2.bias[expert])
        total.index_add_(0, rows, down * shares[start:end])
    return total.to(x.dtype)


@contextmanager
def _single_row_kernels(x: Tensor) -> Iterator[None]:
    """Turn oneDNN off for the product of one bfloat16 row with a large matrix.

    torch's own kernel reads the matrix at memory speed; oneDNN's takes twice as long (AMD EPYC with AVX-512 BF16,
    2 threads, 201088 x 384: 5.2 ms against 10.0). The switch is process-wide, but the worker has only one thread.
    """
    if x.shape[0] > 1 or x.dtype != torch.bfloat16 or not torch.backends.mkldnn.enabled:
        yield
        return
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # a property of the module
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True  # type: ignore[assignment]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run with at most `count` threads. The setting is process-wide, but only one thread of the worker computes."""
    before = torch.get_num_threads()
    if count >= before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Transformer:
    """A loaded model. `hidden` runs tokens with a cache; `logits` turns selected states into logits."""

    def __init__(self, config: ModelConfig, weights: ModelWeights, context: int) -> None:
        self.config = config
        self.weights = weights
        self._experts = ExpertCache()
        cos, sin = rope_tables(config, context, weights.dtype)
        self._cos, self._sin = cos.to(weights.device), sin.to(weights.device)
        self._token_threads = 1 if weights.layers[0].nbytes < SMALL_LAYER else torch.get_num_threads()

    def hidden(self, ids: Tensor, cache: KVCache) -> Tensor:
        """Run `ids` int64 [T] after the contents of `cache`: the states before the last norm, [T, H].

        The caller reserves room (`cache.reserve`) before the call and commits the ids after it.
        """
        tokens, past = ids.shape[0], cache.length
        cos, sin = self._cos[past : past + tokens], self._sin[past : past + tokens]
        window = self.config.sliding_window
        # Full layers see everything in the past, so their mask only covers the tokens of this call.
        full = hidden_keys(tokens, 0, None, ids.device)
        sliding = hidden_keys(tokens, min(past, window - 1), window, ids.device)
        x = F.embedding(ids, self.weights.embedding).to(self.weights.dtype)
        with _threads(self._token_threads if tokens == 1 else torch.get_num_threads()), _single_row_kernels(x):
            for index, layer in enumerate(self.weights.layers):
                mask = sliding if self.config.is_sliding(index) else full
                x = x + self._attention(rms_norm(x, layer.attn_norm), index, layer, cache, cos, sin, mask)
                t = rms_norm(x, layer.mlp_norm)
                one = tokens == 1
                x = x + (moe_token(t, layer, self.config, self._experts) if one else moe_chunk(t, layer, self.config))
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Logits float32 [P, vocabulary] of selected states [P, H]."""
        with _single_row_kernels(x):
            logits = F.linear(rms_norm(x, self.weights.norm), self.weights.unembedding).float()
        row = self.weights.unembedding_row
        # One at a time: on a matrix, `index_select` is a hundred times slower than on a vector.
        return logits if row is None else torch.stack([values.index_select(0, row) for values in logits])

    def _attention(
        self,
        x: Tensor,
        index: int,
        layer: LayerWeights,
        cache: KVCache,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        config = self.config
        heads = F.linear(x, layer.qkv_weight, layer.qkv_bias).view(x.shape[0], -1, config.head_dim)
        kv_heads = config.num_key_value_heads
        turned = apply_rope(heads[:, :-kv_heads], cos, sin)  # q and k together
        query, key = turned[:, :-kv_heads], turned[:, -kv_heads:]
        keys, values = cache.append(index, key, heads[:, -kv_heads:])
        return F.linear(attend(query, keys, values, layer.sinks, mask), layer.out_weight, layer.out_bias)
