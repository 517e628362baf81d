"""One token through its experts, whose weights are MXFP4 tiles (see mxfp4.py). Every program reads whole tiles.

E experts, k of them for a token, H hidden, I intermediate.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.mxfp4 import scale_value, unpack


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
def strips_times(
    vector, values, scales, strip, first, columns,
    TILES: tl.constexpr, STRIPS: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """float32 [STRIPS, ROWS]: rows `first` to `first` + ROWS of tile rows from `strip` on, times vector [columns].

    STRIPS tile rows share what is loaded of the vector. A thread holds 16 neighbouring bytes of a row, so the sum over
    columns stays in it, and the scale comes after the sum.
    """
    place = tl.arange(0, STRIPS)[:, None, None, None]
    tile, col = tl.arange(0, SPAN)[None, :, None, None], tl.arange(0, 32)[None, None, None, :]
    row = first + tl.arange(0, ROWS)[None, None, :, None]
    flat_tile, flat_col = tl.arange(0, SPAN)[:, None], tl.arange(0, 32)[None, :]
    acc = tl.zeros((STRIPS, SPAN, ROWS), tl.float32)
    for start in tl.range(0, TILES, SPAN):
        at = (strip + place) * TILES + start + tile
        held = (start + tile < TILES) & (place >= 0) & (row >= 0)
        byte = tl.load(values + (at * 16 + row) * 32 + col, mask=held & (col >= 0), other=0)
        scale = scales + tl.reshape(at * 32 + row, (STRIPS, SPAN, ROWS))
        there = tl.reshape(held, (STRIPS, SPAN, ROWS))
        low_scale = scale_value(tl.load(scale, mask=there, other=0))
        high_scale = scale_value(tl.load(scale + 16, mask=there, other=0))
        k = (start + flat_tile) * 64 + flat_col
        low = tl.load(vector + k, mask=k < columns, other=0.0).to(tl.float32)[None, :, None, :]
        high = tl.load(vector + k + 32, mask=k + 32 < columns, other=0.0).to(tl.float32)[None, :, None, :]
        low_value, high_value = unpack(byte)
        acc += tl.sum(low_value.to(tl.float32) * low, 3) * low_scale
        acc += tl.sum(high_value.to(tl.float32) * high, 3) * high_scale
    return tl.sum(acc, 1)


@triton.jit
def gate_up_kernel(
    t, scores, values, scales, bias, hidden, limit,
    H: tl.constexpr, I: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, TP: tl.constexpr,
    ALPHA: tl.constexpr, TILES: tl.constexpr, STRIPS: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """hidden [k, I] = swiglu(W t + b) of the k best experts.

    t [H]; scores float32 [E]; values [E, 2 I / 16, TILES, 16, 32]; scales [E, 2 I / 16, TILES, 2, 16]; bias [E, 2 I].
    Program (i, n): tile rows i * STRIPS to (i + 1) * STRIPS of the n-th best expert.
    """
    block, choice = tl.program_id(0), tl.program_id(1)
    ids, _ = best_experts(scores, E, EP, TOP, TP)
    expert = pick(ids, choice, TP)
    strip = expert.to(tl.int64) * (2 * I // 16) + block * STRIPS
    out = tl.reshape(strips_times(t, values, scales, strip, 0, H, TILES, STRIPS, SPAN, 16), (STRIPS * 16,))
    row = block * STRIPS * 16 + tl.arange(0, STRIPS * 16)
    out += tl.load(bias + expert * 2 * I + row)
    gate, linear = tl.split(tl.reshape(out, (STRIPS * 8, 2)))
    activated = swiglu(gate, linear, limit, ALPHA)
    place = hidden + choice * I + block * STRIPS * 8 + tl.arange(0, STRIPS * 8)
    tl.store(place, activated.to(hidden.dtype.element_ty))


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
    row = first + tl.arange(0, ROWS)
    ids, shares = best_experts(scores, E, EP, TOP, TP)
    out = tl.load(x + row)
    for choice in tl.static_range(TOP):
        expert = pick(ids, choice, TP)
        strip = expert.to(tl.int64) * (H // 16) + first // 16
        made = strips_times(hidden + choice * I, values, scales, strip, first % 16, I, TILES, 1, SPAN, ROWS)
        out += pick(shares, choice, TP) * (tl.reshape(made, (ROWS,)) + tl.load(bias + expert * H + row))
    tl.store(x + row, out)
