"""The experts for a few tokens. Their weights are MXFP4 tiles (see mxfp4.py); every program reads whole tiles.

E is the number of experts, H the hidden size, I the intermediate size; TOKENS as in gemv.py. An expert's weights are
read once for all tokens that chose it. In bfloat16 the products run on the tensor cores (mma.py), which always take 8
vectors at a time: one token and eight cost the same arithmetic and get the same results. Other dtypes, and Triton's
interpreter, use plain sums.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.mma import lanes, product, rows_and_vectors
from gptoss_tui.engine.triton.kernels.mxfp4 import INTERPRETED, weights_of
from gptoss_tui.engine.triton.kernels.overlap import follow


@triton.jit
def thread_tiles(turn, WARPS: tl.constexpr):
    """Each thread's tile, g and half of the tile's columns in a turn (see mma.py): three tensors [threads]."""
    warp, g, q = lanes(WARPS)
    return 2 * (turn * WARPS + warp) + q // 2, g, q % 2


@triton.jit
def load_strip(values, scales, strip, TILES: tl.constexpr, WARPS: tl.constexpr):
    """Load all words of a tile row: per turn a word of scales, rows g, rows g + 8. A warp takes two tiles per turn."""
    TURNS: tl.constexpr = (TILES + 2 * WARPS - 1) // (2 * WARPS)
    words = tl.multiple_of(values.to(tl.pointer_type(tl.int32)), 16)
    codes = tl.multiple_of(scales.to(tl.pointer_type(tl.int32)), 16)
    loaded = ()
    for turn in tl.static_range(TURNS):
        tile, g, side = thread_tiles(turn, WARPS)
        held = tile < TILES
        at = strip * TILES + tile
        place = ((at * 16 + g) * 8 + side * 4)[:, None] + tl.arange(0, 4)[None, :]
        first = tl.load(words + place, mask=held[:, None], other=0)
        second = tl.load(words + place + 64, mask=held[:, None], other=0)
        loaded = loaded + (tl.load(codes + at * 8 + g, mask=held, other=0), first, second)
    return loaded


@triton.jit
def strip_times(loaded, vectors, columns: tl.constexpr, TILES: tl.constexpr, WARPS: tl.constexpr, TOKENS: tl.constexpr):
    """Multiply a tile row from `load_strip` by vectors bfloat16 [TOKENS, columns]: float32 [16, 8], one per column."""
    TURNS: tl.constexpr = (TILES + 2 * WARPS - 1) // (2 * WARPS)
    words = tl.multiple_of(vectors.to(tl.pointer_type(tl.int32)), 16)
    acc = tl.zeros((32 * WARPS, 4), tl.float32)
    for turn in tl.static_range(TURNS):
        tile, g, side = thread_tiles(turn, WARPS)
        column = tile * 64 + side * 16
        place = (g * (columns // 2) + tile * 32 + side * 8)[:, None] + tl.arange(0, 4)[None, :]
        low = ((g < TOKENS) & (column < columns))[:, None]
        high = ((g < TOKENS) & (column + 32 < columns))[:, None]
        x0, x1 = tl.load(words + place, mask=low, other=0), tl.load(words + place + 4, mask=low, other=0)
        x2, x3 = tl.load(words + place + 16, mask=high, other=0), tl.load(words + place + 20, mask=high, other=0)
        codes = tl.broadcast_to(loaded[3 * turn][:, None], (32 * WARPS, 4))
        acc = product(loaded[3 * turn + 1], loaded[3 * turn + 2], codes, x0, x1, x2, x3, acc)
    return rows_and_vectors(acc, WARPS)


@triton.jit
def plain_strip_times(values, scales, vectors, strip, columns: tl.constexpr, TILES: tl.constexpr, TOKENS: tl.constexpr):
    """Like `load_strip` and `strip_times` together, but in float32 and for vectors of any dtype."""
    row, col, n = tl.arange(0, 16), tl.arange(0, 32), tl.arange(0, 8)
    acc = tl.zeros((16, 8), tl.float32)
    for tile in tl.range(0, TILES):
        at = strip * TILES + tile
        byte = tl.load(values + (at * 16 + row)[:, None] * 32 + col[None, :])
        code = scales + at * 32 + row % 8 * 4 + row // 8 * 2
        low, high = weights_of(byte, tl.load(code), tl.load(code + 1), tl.float32)
        k = tile * 64 + col[None, :]
        place = vectors + n[:, None] * columns + k
        there = n[:, None] < TOKENS
        x_low = tl.load(place, mask=there & (k < columns), other=0.0).to(tl.float32)
        x_high = tl.load(place + 32, mask=there & (k + 32 < columns), other=0.0).to(tl.float32)
        acc += tl.sum(low[:, None, :] * x_low[None, :, :], 2) + tl.sum(high[:, None, :] * x_high[None, :, :], 2)
    return acc


@triton.jit
def gate_up_kernel(
    t, experts, chosen, values, scales, bias, hidden, limit,
    H: tl.constexpr, I: tl.constexpr, ALPHA: tl.constexpr, TILES: tl.constexpr, STRIPS: tl.constexpr,
    WARPS: tl.constexpr, TOKENS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """hidden [experts chosen, TOKENS, I] = swiglu(W t + b) for the chosen experts.

    t [TOKENS, H]; experts int32 [places] and chosen int32 [1] as in router.py; values [E, 2 I / 16, TILES, 16, 32];
    scales [E, 2 I / 16, TILES, 8, 2, 2]; bias [E, 2 I]. Program (i, n) computes STRIPS tile rows of the n-th expert.
    """
    first, place = tl.program_id(0) * STRIPS, tl.program_id(1)
    follow(OVERLAP)
    expert = tl.load(experts + place)
    if place < tl.load(chosen):
        strip = expert.to(tl.int64) * (2 * I // 16) + first
        PLAIN: tl.constexpr = INTERPRETED or t.dtype.element_ty != tl.bfloat16
        loaded, offsets = (), ()
        for n in tl.static_range(STRIPS):
            offsets = offsets + (tl.load(bias + expert * 2 * I + (first + n) * 16 + tl.arange(0, 16)),)
            if not PLAIN:
                loaded = loaded + (load_strip(values, scales, strip + n, TILES, WARPS),)
        for n in tl.static_range(STRIPS):
            if PLAIN:
                out = plain_strip_times(values, scales, t, strip + n, H, TILES, TOKENS)
            else:
                out = strip_times(loaded[n], t, H, TILES, WARPS, TOKENS)
            out += offsets[n][:, None].to(tl.float32)
            gate, linear = tl.split(tl.reshape(tl.trans(out), (8, 8, 2)))
            token = tl.arange(0, 8)[:, None]
            target = hidden + (place * TOKENS + token) * I + (first + n) * 8 + tl.arange(0, 8)[None, :]
            tl.store(target, swiglu(gate, linear, limit, ALPHA).to(hidden.dtype.element_ty), mask=token < TOKENS)


@triton.jit
def swiglu(gate, linear, limit, ALPHA: tl.constexpr):
    """SwiGLU as in gpt-oss: the gate is clamped from above, the linear part from both sides."""
    gate = tl.minimum(gate, limit)
    linear = tl.minimum(tl.maximum(linear, -limit), limit)
    return gate / (1 + tl.exp(-ALPHA * gate)) * (linear + 1)


@triton.jit
def down_kernel(
    hidden, experts, shares, chosen, values, scales, bias, x, g, scaled, squares, parts, arrived,
    H: tl.constexpr, I: tl.constexpr, TILES: tl.constexpr, PLACES: tl.constexpr, WARPS: tl.constexpr,
    TOKENS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """x [TOKENS, H] += sum over a token's experts of share * (W hidden + b).

    hidden [experts chosen, TOKENS, I]; experts, shares and chosen as in router.py; values [E, H / 16, TILES, 16, 32];
    scales [E, H / 16, TILES, 8, 2, 2]; bias [E, H]; x float32; g, scaled and squares as in norm.py. Program (i, n)
    computes tile row i of the n-th expert; the last program of a tile row to finish adds up all experts, in their
    order. Scratch: parts float32 [H / 16, PLACES, 16, 8]; arrived int32 [H / 16], zero before and after. The choice of
    experts was known before the previous kernel began, so weights are loaded while that one ends.
    """
    block, place = tl.program_id(0), tl.program_id(1)
    row, n = tl.arange(0, 16), tl.arange(0, 8)
    expert = tl.load(experts + place, cache_modifier=".cg")
    places = tl.load(chosen, cache_modifier=".cg")
    if place < places:
        strip = expert.to(tl.int64) * (H // 16) + block
        share = tl.load(shares + place * TOKENS + n, mask=n < TOKENS, other=0.0, cache_modifier=".cg")
        offset = tl.load(bias + expert * H + block * 16 + row).to(tl.float32)
        vectors = hidden + place * TOKENS * I
        gain = tl.load(g + block * 16 + row)[:, None]
        square = row[:, None] * 8 + n[None, :]
        at = n[None, :] * H + block * 16 + row[:, None]
        real = (n[None, :] < TOKENS) & (row[:, None] >= 0)
        if INTERPRETED or hidden.dtype.element_ty != tl.bfloat16:
            follow(OVERLAP)
            out = plain_strip_times(values, scales, vectors, strip, I, TILES, TOKENS)
        else:
            loaded = load_strip(values, scales, strip, TILES, WARPS)
            follow(OVERLAP)
            out = strip_times(loaded, vectors, I, TILES, WARPS, TOKENS)
        out = (out + offset[:, None]) * share[None, :]
        mine = parts + (block * PLACES + place) * 128 + square
        tl.store(mine, out)
        tl.debug_barrier()
        if tl.atomic_add(arrived + block, 1, sem="acq_rel") == places - 1:
            total = tl.load(x + at, mask=real, other=0.0)
            added = tl.zeros((16, 8), tl.float32)
            for other in tl.range(0, places):
                added += tl.load(parts + (block * PLACES + other) * 128 + square, cache_modifier=".cg")
            total += added
            tl.store(x + at, total, mask=real)
            tl.store(scaled + at, (total * gain).to(scaled.dtype.element_ty), mask=real)
            tl.store(squares + n * (H // 16) + block, tl.sum(total * total, 0), mask=n < TOKENS)
            tl.store(arrived + block, 0)
