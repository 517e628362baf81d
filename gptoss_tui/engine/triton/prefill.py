"""Runs a chunk of many tokens: dense products by the vendor's library, attention and experts by our kernels.

Nothing here waits for the device: the host never needs to know how many tokens each expert got.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from gptoss_tui.engine.config import RMS_NORM_EPS, SWIGLU_ALPHA, ModelConfig
from gptoss_tui.engine.triton.decode import FUSED, Decoder
from gptoss_tui.engine.triton.dense import linear
from gptoss_tui.engine.triton.kernels.chunk import add_norm_kernel, embed_kernel, flash_kernel, turn_append_kernel
from gptoss_tui.engine.triton.kernels.grouped import grouped_down_kernel, grouped_up_kernel
from gptoss_tui.engine.triton.kernels.grouping import pick_kernel, sort_kernel
from gptoss_tui.engine.triton.weights import LayerWeights

SORTED_TOKENS = 32
"""Tokens per program when choices are sorted by expert."""


class Prefill:
    """Runs chunks through a decoder's model and into its cache."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.config: ModelConfig = decoder.config
        self.weights = decoder.weights

    def run(self, ids: Tensor, layers: int | None = None) -> Tensor:
        """Run `ids` int64 [T] at the decoder's position; returns the residual stream after the layers, float32 [T, H].

        The caller reserves room in the cache (`cache.reserve`), sets the position, and commits the ids. `layers` limits
        the run to the first layers.
        """
        config, weights = self.config, self.weights
        tokens, hidden = len(ids), config.hidden_size
        x = torch.empty((tokens, hidden), dtype=torch.float32, device=ids.device)
        wide = triton.next_power_of_2(hidden)
        embed_kernel[(tokens,)](ids, weights.embedding, x, H=hidden, H2=wide, **FUSED)
        added: Tensor | None = None
        for index, layer in enumerate(weights.layers[:layers]):
            t = self._norm(x, added, layer.attn_norm)
            added = None  # frees its T * k * H values before attention needs memory
            mixed = self._attention(index, layer, t)
            t = self._norm(x, linear(mixed, layer.out_weight, layer.out_bias), layer.mlp_norm)
            added = self._experts(layer, t)
        assert added is not None
        return x + added.sum(1, dtype=torch.float32)

    def norm(self, x: Tensor, scale: Tensor) -> Tensor:
        """The normed rows of x [T, H] in the model's dtype."""
        return self._norm(x, None, scale)

    def _norm(self, x: Tensor, added: Tensor | None, scale: Tensor) -> Tensor:
        """Add `added` [T, H] or [T, k, H] to x in place; returns the normed rows of x in the model's dtype."""
        tokens, hidden = x.shape
        out = torch.empty((tokens, hidden), dtype=self.weights.dtype, device=x.device)
        parts = 0 if added is None else added.numel() // x.numel()
        add_norm_kernel[(tokens,)](
            x, x if added is None else added, scale, out,
            H=hidden, H2=triton.next_power_of_2(hidden), PARTS=parts, EPS=RMS_NORM_EPS, **FUSED,
        )  # fmt: skip
        return out

    def _attention(self, index: int, layer: LayerWeights, t: Tensor) -> Tensor:
        config, state, tokens = self.config, self.decoder.state, len(t)
        table, slots, segments = self.decoder.cache.table(index)
        heads, keys, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        shape = {"Q": heads, "K": keys, "D": dim, "SLOTS": slots, "SEGMENTS": segments, **FUSED}
        qkv = linear(t, layer.qkv_weight, layer.qkv_bias)
        query = torch.empty((tokens, heads * dim), dtype=t.dtype, device=t.device)
        turn_append_kernel[(tokens,)](
            qkv, self.decoder.cos, self.decoder.sin, state.position, query, table,
            HEADS=triton.next_power_of_2(heads + 2 * keys), **shape,
        )  # fmt: skip
        mixed = torch.empty_like(query)
        group = int(triton.next_power_of_2(config.heads_per_kv))
        queries = max(1, 128 // group) if tokens >= 128 else max(1, 64 // group)
        queries = max(queries, -(-16 // group))
        flash_kernel[(triton.cdiv(tokens, queries), keys)](
            query, table, layer.sinks, state.position, mixed, tokens, dim**-0.5,
            WINDOW=config.sliding_window if config.is_sliding(index) else 0,
            QUERIES=queries, GROUP=group, BLOCK=min(64, slots), **shape, num_warps=8 if queries * group > 64 else 4,
        )  # fmt: skip
        return mixed

    def _experts(self, layer: LayerWeights, t: Tensor) -> Tensor:
        """The weighted outputs of each token's experts, [T, k, H]."""
        config, tokens = self.config, len(t)
        top, experts = config.experts_per_token, config.num_experts
        hidden, inner = config.hidden_size, config.intermediate_size
        order, ends, weights = sorted_choices(F.linear(t, layer.gate_weight, layer.gate_bias), top)
        rows = tokens * top
        size, wide, warps, stages = group_sizes(rows, experts)
        blocks = min(rows, triton.cdiv(rows, size) + experts)
        common = {
            "H": hidden, "I": inner, "E": experts, "EP": triton.next_power_of_2(experts), "BM": size,
            "num_warps": warps, "num_stages": stages, **FUSED,
        }  # fmt: skip
        up, down = layer.mlp1, layer.mlp2
        middle = torch.empty((rows, inner), dtype=t.dtype, device=t.device)
        width = _divisor(2 * inner, wide)
        grouped_up_kernel[(2 * inner // width, blocks)](
            t, order, ends, up.values, up.scales, up.bias, middle, config.swiglu_limit,
            TOP=top, ALPHA=SWIGLU_ALPHA, TILES=up.tiles, BN=width, **common,
        )  # fmt: skip
        out = torch.empty((tokens, top, hidden), dtype=t.dtype, device=t.device)
        width = _divisor(hidden, wide)
        grouped_down_kernel[(hidden // width, blocks)](
            middle, order, ends, weights, down.values, down.scales, down.bias, out,
            TILES=down.tiles, BN=width, **common,
        )  # fmt: skip
        return out


def sorted_choices(scores: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the `top` best experts of each row of scores [T, E], and sort the choices for kernels/grouped.py.

    Returns the order of the choices int32 [T * top], where each expert's choices end int32 [E], and the weights float32
    [T * top]; the weights are not sorted.
    """
    tokens, experts = scores.shape
    blocks, wide = triton.cdiv(tokens, SORTED_TOKENS), triton.next_power_of_2(experts)

    def ints(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int32, device=scores.device)

    chosen, counts, order, ends = ints(tokens * top), ints(blocks, wide), ints(tokens * top), ints(experts)
    weights = torch.empty(tokens * top, dtype=torch.float32, device=scores.device)
    pick_kernel[(blocks,)](
        scores, chosen, weights, counts, tokens, E=experts, EP=wide, TOP=top, BT=SORTED_TOKENS, **FUSED
    )
    size = SORTED_TOKENS * top
    sort_kernel[(blocks,)](
        chosen, counts, order, ends, tokens * top, blocks,
        E=experts, EP=wide, SIZE=size, N=triton.next_power_of_2(size), TILE=64, **FUSED,
    )  # fmt: skip
    return order, ends, weights


def group_sizes(rows: int, experts: int) -> tuple[int, int, int, int]:
    """Sizes of the experts' products for `rows` rows in total: rows and columns of a block, warps, stages."""
    if rows <= 16 * experts:
        return 16, 128, 4, 3
    if rows <= 128 * experts:
        return 64, 128, 4, 3
    return 128, 128, 4, 3


def _divisor(rows: int, most: int) -> int:
    """The widest block, up to `most`, that divides `rows`. An expert's weights have a multiple of 32 rows."""
    return next(width for width in (256, 128, 64, 32) if width <= most and rows % width == 0)
