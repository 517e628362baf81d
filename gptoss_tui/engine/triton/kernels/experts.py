"""One token through its experts, whose weights are MXFP4 tiles (see mxfp4.py). Every program reads whole tiles.

E experts, k of them for a token, H hidden, I intermediate.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.mxfp4 import nibble_value, scale_value


@triton.jit
def best_experts(scores, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, TP: tl.constexpr):
    """Ids int32 [TP] and weights float32 [TP] of the TOP best of scores [E]: softmax after the choice.

    EP and TP are E and TOP as powers of two; places from TOP on have weight 0.
    """
    expert = tl.arange(0, EP)
    left = tl.load(scores + expert, mask=expert < E, other=float("-inf"))
    place = tl.arange(0, TP)
    ids = tl.zeros((TP,), tl.int32)
    values = tl.full((TP,), float("-inf"), tl.float32)
    for n in tl.static_range(TOP):
        value, best = tl.max(left, 0, return_indices=True)
        ids = tl.where(place == n, best, ids)
        values = tl.where(place == n, value, values)
        left = tl.where(expert == best, float("-inf"), left)
    shares = tl.exp(values - tl.max(values, 0))
    return ids, shares / tl.sum(shares, 0)


@triton.jit
def pick(values, n, TP: tl.constexpr):
    """Element n of a tensor [TP]."""
    return tl.sum(tl.where(tl.arange(0, TP) == n, values, 0), 0)


@triton.jit
def gate_up_kernel(
    x, g, scores, values, scales, bias, hidden, limit,
    H: tl.constexpr, I: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, TP: tl.constexpr,
    EPS: tl.constexpr, ALPHA: tl.constexpr, TILES: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """hidden [k, I] = swiglu(W (rms_norm(x) * g) + b) of the k best experts.

    x, g float32 [H]; values [E, 2 I / 16, TILES, 16, 32]; scales [E, 2 I / 16, TILES, 2, 16]; bias [E, 2 I].
    Program (i, n): tile row i of the n-th best expert. SPAN tiles are read at once.
    """
    block, choice = tl.program_id(0), tl.program_id(1)
    ids, _ = best_experts(scores, E, EP, TOP, TP)
    expert = pick(ids, choice, TP)
    strip = (expert.to(tl.int64) * (2 * I // 16) + block) * TILES
    tile, row, col = tl.arange(0, SPAN), tl.arange(0, 16), tl.arange(0, 32)
    acc = tl.zeros((SPAN, 16, 32), tl.float32)
    squares = tl.zeros((SPAN, 32), tl.float32)
    for start in tl.range(0, TILES, SPAN):
        at = start + tile
        held = at < TILES
        byte = tl.load(
            values + ((strip + at)[:, None, None] * 16 + row[None, :, None]) * 32 + col[None, None, :],
            mask=held[:, None, None], other=0,
        ).to(tl.int32)  # fmt: skip
        scale = scales + (strip + at)[:, None] * 32 + row[None, :]
        low_scale = scale_value(tl.load(scale, mask=held[:, None], other=0))
        high_scale = scale_value(tl.load(scale + 16, mask=held[:, None], other=0))
        k = at[:, None] * 64 + col[None, :]
        low, high = tl.load(x + k, mask=k < H, other=0.0), tl.load(x + k + 32, mask=k + 32 < H, other=0.0)
        squares += low * low + high * high
        low *= tl.load(g + k, mask=k < H, other=0.0)
        high *= tl.load(g + k + 32, mask=k + 32 < H, other=0.0)
        acc += nibble_value(byte & 15) * low_scale[:, :, None] * low[:, None, :]
        acc += nibble_value(byte >> 4) * high_scale[:, :, None] * high[:, None, :]
    out = tl.sum(tl.sum(acc, 2), 0) * tl.rsqrt(tl.sum(squares) / H + EPS)
    out += tl.load(bias + expert * 2 * I + block * 16 + row)
    gate, linear = tl.split(tl.reshape(out, (8, 2)))
    activated = swiglu(gate, linear, limit, ALPHA)
    tl.store(hidden + choice * I + block * 8 + tl.arange(0, 8), activated.to(hidden.dtype.element_ty))


@triton.jit
def swiglu(gate, linear, limit, ALPHA: tl.constexpr):
    """The gate is clamped from above, the linear part from both sides."""
    gate = tl.minimum(gate, limit)
    linear = tl.minimum(tl.maximum(linear, -limit), limit)
    return gate / (1 + tl.exp(-ALPHA * gate)) * (linear + 1)


@triton.jit
def down_kernel(
    hidden, scores, values, scales, bias, x,
    H: tl.constexpr, I: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, TP: tl.constexpr,
    TILES: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """x [H] += sum over the k best experts of weight * (W hidden + b).

    hidden [k, I]; values [E, H / 16, TILES, 16, 32]; scales [E, H / 16, TILES, 2, 16]; bias [E, H]; x float32.
    Program i owns rows i * ROWS to (i + 1) * ROWS; ROWS divides 16.
    """
    first = tl.program_id(0) * ROWS
    ids, shares = best_experts(scores, E, EP, TOP, TP)
    tile, row, col = tl.arange(0, SPAN), tl.arange(0, ROWS), tl.arange(0, 32)
    inner = first % 16 + row
    out = tl.zeros((ROWS,), tl.float32)
    for choice in tl.static_range(TOP):
        expert = pick(ids, choice, TP)
        strip = (expert.to(tl.int64) * (H // 16) + first // 16) * TILES
        acc = tl.zeros((SPAN, ROWS, 32), tl.float32)
        for start in tl.range(0, TILES, SPAN):
            at = start + tile
            held = at < TILES
            byte = tl.load(
                values + ((strip + at)[:, None, None] * 16 + inner[None, :, None]) * 32 + col[None, None, :],
                mask=held[:, None, None], other=0,
            ).to(tl.int32)  # fmt: skip
            scale = scales + (strip + at)[:, None] * 32 + inner[None, :]
            low_scale = scale_value(tl.load(scale, mask=held[:, None], other=0))
            high_scale = scale_value(tl.load(scale + 16, mask=held[:, None], other=0))
            k = at[:, None] * 64 + col[None, :]
            low = tl.load(hidden + choice * I + k, mask=k < I, other=0.0).to(tl.float32)
            high = tl.load(hidden + choice * I + k + 32, mask=k + 32 < I, other=0.0).to(tl.float32)
            acc += nibble_value(byte & 15) * low_scale[:, :, None] * low[:, None, :]
            acc += nibble_value(byte >> 4) * high_scale[:, :, None] * high[:, None, :]
        out += pick(shares, choice, TP) * (tl.sum(tl.sum(acc, 2), 0) + tl.load(bias + expert * H + first + row))
    tl.store(x + first + row, tl.load(x + first + row) + out)
