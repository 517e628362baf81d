"""A few tokens through their experts, whose weights are MXFP4 tiles (see mxfp4.py). Every program reads whole tiles.

E experts, k of them for a token, H hidden, I intermediate; TOKENS as in gemv.py. What one expert does for several
tokens reads its weights once. The experts that any token chose are numbered in ascending order, whatever the tokens
prefer: a token's sum has the same order when it comes alone.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.mxfp4 import scale_value, unpack


@triton.jit
def routes(scores, count, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, TOKENS: tl.constexpr):
    """Shares float32 [TOKENS, EP] of the experts, 0 where not among a token's TOP best: softmax after the choice.

    scores float32 [TOKENS, E]; EP is E as a power of two; tokens from `count` on choose nothing.
    """
    expert, token = tl.arange(0, EP)[None, :], tl.arange(0, TOKENS)[:, None]
    score = tl.load(scores + token * E + expert, mask=expert < E, other=float("-inf"))
    left = score
    for _ in tl.static_range(TOP):
        best = tl.argmax(left, 1)
        left = tl.where(expert == best[:, None], float("-inf"), left)
    chosen = (left == float("-inf")) & (expert < E)
    grown = tl.where(chosen, tl.exp(score - tl.max(score, 1)[:, None]), 0.0)
    return tl.where(token < count, grown / tl.sum(grown, 1)[:, None], 0.0)


@triton.jit
def nth_expert(shares, n, EP: tl.constexpr):
    """The n-th expert that a token chose, and the shares [TOKENS] of it; for n beyond the last the shares are 0."""
    expert = tl.arange(0, EP)
    used = tl.max(shares, 0) > 0
    mine = used & (tl.cumsum(used.to(tl.int32), 0) == n + 1)
    return tl.sum(tl.where(mine, expert, 0), 0), tl.sum(tl.where(mine[None, :], shares, 0.0), 1)


@triton.jit
def pick(values, n, N: tl.constexpr):
    """Element n of a tensor [N]."""
    return tl.sum(tl.where(tl.arange(0, N) == n, values, 0), 0)


@triton.jit
def strips_times(
    vectors, shares, values, scales, strip, first, columns,
    TILES: tl.constexpr, STRIPS: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """float32 [STRIPS, ROWS] for each token, in a tuple; zeros for those without a share.

    Rows `first` to `first` + ROWS of tile rows from `strip` on, times vectors [TOKENS, columns]. STRIPS tile rows share
    what is loaded of a vector. A thread holds 16 neighbouring bytes of a row, so the sum over columns stays in it, and
    the scale comes after the sum.
    """
    place = tl.arange(0, STRIPS)[:, None, None, None]
    tile, col = tl.arange(0, SPAN)[None, :, None, None], tl.arange(0, 32)[None, None, None, :]
    row = first + tl.arange(0, ROWS)[None, None, :, None]
    flat_tile, flat_col = tl.arange(0, SPAN)[:, None], tl.arange(0, 32)[None, :]
    accs = (tl.zeros((STRIPS, SPAN, ROWS), tl.float32),) * TOKENS
    wanted = ()
    for n in tl.static_range(TOKENS):
        wanted = wanted + (pick(shares, n, TOKENS) > 0,)
    for start in tl.range(0, TILES, SPAN):
        at = (strip + place) * TILES + start + tile
        held = (start + tile < TILES) & (place >= 0) & (row >= 0)
        byte = tl.load(values + (at * 16 + row) * 32 + col, mask=held & (col >= 0), other=0)
        scale = scales + tl.reshape(at * 32 + row, (STRIPS, SPAN, ROWS))
        there = tl.reshape(held, (STRIPS, SPAN, ROWS))
        low_scale = scale_value(tl.load(scale, mask=there, other=0))
        high_scale = scale_value(tl.load(scale + 16, mask=there, other=0))
        k = (start + flat_tile) * 64 + flat_col
        low_value, high_value = unpack(byte)
        low_value, high_value = low_value.to(tl.float32), high_value.to(tl.float32)
        new_accs = ()
        for n in tl.static_range(TOKENS):
            acc = accs[n]
            if TOKENS == 1 or wanted[n]:
                vector = vectors + n * columns
                low = tl.load(vector + k, mask=k < columns, other=0.0).to(tl.float32)[None, :, None, :]
                high = tl.load(vector + k + 32, mask=k + 32 < columns, other=0.0).to(tl.float32)[None, :, None, :]
                acc += tl.sum(low_value * low, 3) * low_scale
                acc += tl.sum(high_value * high, 3) * high_scale
            new_accs = new_accs + (acc,)
        accs = new_accs
    out = ()
    for n in tl.static_range(TOKENS):
        out = out + (tl.sum(accs[n], 1),)
    return out


@triton.jit
def gate_up_kernel(
    t, scores, count, values, scales, bias, hidden, limit,
    H: tl.constexpr, I: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, ALPHA: tl.constexpr,
    TILES: tl.constexpr, STRIPS: tl.constexpr, SPAN: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """hidden [experts chosen, TOKENS, I] = swiglu(W t + b) of the experts that tokens chose.

    t [TOKENS, H]; scores float32 [TOKENS, E]; count int32 [1]: tokens that are real; values
    [E, 2 I / 16, TILES, 16, 32]; scales [E, 2 I / 16, TILES, 2, 16]; bias [E, 2 I]. Program (i, n): tile rows
    i * STRIPS to (i + 1) * STRIPS of the n-th expert, for the tokens that chose it.
    """
    block, place = tl.program_id(0), tl.program_id(1)
    expert, shares = nth_expert(routes(scores, tl.load(count), E, EP, TOP, TOKENS), place, EP)
    if tl.max(shares, 0) > 0:
        strip = expert.to(tl.int64) * (2 * I // 16) + block * STRIPS
        outs = strips_times(t, shares, values, scales, strip, 0, H, TILES, STRIPS, SPAN, 16, TOKENS)
        row = block * STRIPS * 16 + tl.arange(0, STRIPS * 16)
        offset = tl.load(bias + expert * 2 * I + row)
        for n in tl.static_range(TOKENS):
            out = tl.reshape(outs[n], (STRIPS * 16,)) + offset
            gate, linear = tl.split(tl.reshape(out, (STRIPS * 8, 2)))
            activated = swiglu(gate, linear, limit, ALPHA)
            target = hidden + (place * TOKENS + n) * I + block * STRIPS * 8 + tl.arange(0, STRIPS * 8)
            tl.store(target, activated.to(hidden.dtype.element_ty))


@triton.jit
def swiglu(gate, linear, limit, ALPHA: tl.constexpr):
    """The gate is clamped from above, the linear part from both sides."""
    gate = tl.minimum(gate, limit)
    linear = tl.minimum(tl.maximum(linear, -limit), limit)
    return gate / (1 + tl.exp(-ALPHA * gate)) * (linear + 1)


@triton.jit
def down_kernel(
    hidden, scores, count, values, scales, bias, x,
    H: tl.constexpr, I: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr,
    TILES: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """x [TOKENS, H] += sum over a token's experts of share * (W hidden + b).

    hidden [experts chosen, TOKENS, I]; values [E, H / 16, TILES, 16, 32]; scales [E, H / 16, TILES, 2, 16];
    bias [E, H]; x float32. Program i owns rows i * ROWS to (i + 1) * ROWS; ROWS divides 16.
    """
    first = tl.program_id(0) * ROWS
    row = first + tl.arange(0, ROWS)
    every = routes(scores, tl.load(count), E, EP, TOP, TOKENS)
    chosen = tl.sum((tl.max(every, 0) > 0).to(tl.int32), 0)
    outs = ()
    for n in tl.static_range(TOKENS):
        outs = outs + (tl.load(x + n * H + row),)
    if TOKENS == 1:
        for place in tl.static_range(TOP):
            outs = add_expert(
                outs, place, every, hidden, values, scales, bias, first, row,
                H, I, EP, TILES, SPAN, ROWS, TOKENS,
            )  # fmt: skip
    else:
        for place in tl.range(0, chosen):
            outs = add_expert(
                outs, place, every, hidden, values, scales, bias, first, row,
                H, I, EP, TILES, SPAN, ROWS, TOKENS,
            )  # fmt: skip
    for n in tl.static_range(TOKENS):
        tl.store(x + n * H + row, outs[n])


@triton.jit
def add_expert(
    outs, place, every, hidden, values, scales, bias, first, row,
    H: tl.constexpr, I: tl.constexpr, EP: tl.constexpr, TILES: tl.constexpr, SPAN: tl.constexpr, ROWS: tl.constexpr,
    TOKENS: tl.constexpr,
):  # fmt: skip
    """`outs`, float32 [ROWS] a token, plus what the expert at `place` among the chosen ones adds to them."""
    expert, shares = nth_expert(every, place, EP)
    strip = expert.to(tl.int64) * (H // 16) + first // 16
    vectors = hidden + place * TOKENS * I
    made = strips_times(vectors, shares, values, scales, strip, first % 16, I, TILES, 1, SPAN, ROWS, TOKENS)
    offset = tl.load(bias + expert * H + row)
    new_outs = ()
    for n in tl.static_range(TOKENS):
        new_outs = new_outs + (outs[n] + pick(shares, n, TOKENS) * (tl.reshape(made[n], (ROWS,)) + offset),)
    return new_outs
