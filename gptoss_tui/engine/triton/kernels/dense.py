"""Dense products for a few tokens on the tensor cores: a bfloat16 matrix times up to 8 vectors (see mma.py).

The tensor cores always take 8 vectors at a time: one token and eight cost the same arithmetic, and get the same
results, bit for bit. The letters for sizes and the treatment of norms are those of gemv.py, which serves other dtypes.
A program computes 16 rows over all their columns, of which its warps take 32 each per turn.

If the compiler is free to do so, it loads a vector's values right before each product, and waits for them every time.
So turns are grouped into steps: all that a step needs is loaded at once, while the step before it is multiplied, and a
barrier keeps the order (see `asked` in mma.py).

With EIGHT the matrix is in 8 bits (see ../dense.py): int8, with bfloat16 `scales` [*, K / 64] for each 64 columns, and
a warp takes 64 columns per turn. Without it, `scales` is never read.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.mma import (
    asked,
    begin,
    dense_product,
    eight_bit_product,
    lanes,
    rows_and_vectors,
)
from gptoss_tui.engine.triton.kernels.norm import load_squares
from gptoss_tui.engine.triton.kernels.overlap import follow


@triton.jit
def first_column(turn, WARPS: tl.constexpr, EIGHT: tl.constexpr):
    """The first of the 8 columns (16 in 8 bits) that each thread has in a turn: [threads]."""
    warp, _, q = lanes(WARPS)
    return ((turn * WARPS + warp) * 4 + q) * (16 if EIGHT else 8)


@triton.jit
def load_rows(
    w, scales, first, second, turn,
    WIDTH: tl.constexpr, WARPS: tl.constexpr, TURNS: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    """Load rows `first` and `second` [threads] of W [*, WIDTH] for TURNS turns from `turn` on.

    Returns four entries per turn: the words [threads, 4] of each row, and their scales [threads] (8 bits only).
    """
    WORDS: tl.constexpr = WIDTH // 4 if EIGHT else WIDTH // 2
    words = tl.multiple_of(w.to(tl.pointer_type(tl.int32)), 16)
    warp, _, q = lanes(WARPS)
    four = tl.arange(0, 4)[None, :]
    loaded = ()
    for n in tl.static_range(TURNS):
        group = (turn + n) * WARPS + warp
        place = group * 16 + q * 4
        held = place < WORDS
        row = tl.load(words + (first * WORDS + place)[:, None] + four, mask=held[:, None], other=0)
        other = tl.load(words + (second * WORDS + place)[:, None] + four, mask=held[:, None], other=0)
        scale, other_scale = place, place
        if EIGHT:
            scale = tl.load(scales + first * (WIDTH // 64) + group, mask=held, other=0.0).to(tl.float32)
            other_scale = tl.load(scales + second * (WIDTH // 64) + group, mask=held, other=0.0).to(tl.float32)
        loaded = loaded + (row, other, scale, other_scale)
    return loaded


@triton.jit
def in_order(acc, zero, EIGHT: tl.constexpr):
    """Return `acc` and `zero` unchanged, but ordered after all loads before this call, with the products based on them.

    Products in 8 bits start from `zero`, since they are scaled before they are added to `acc`.
    """
    if EIGHT:
        return acc, asked(zero)
    else:
        return asked(acc), zero


@triton.jit
def times(loaded, n: tl.constexpr, low, high, acc, zero, EIGHT: tl.constexpr):
    """`acc` [threads, 4] plus the n-th turn of `loaded` times vectors; `high` and `zero` are for 8 bits only."""
    if EIGHT:
        scale = tl.where(tl.arange(0, 4)[None, :] < 2, loaded[4 * n + 2][:, None], loaded[4 * n + 3][:, None])
        return acc + eight_bit_product(loaded[4 * n], loaded[4 * n + 1], low, high, zero) * scale
    else:
        return dense_product(loaded[4 * n], loaded[4 * n + 1], low, acc)


@triton.jit
def load_vectors(
    v, turn, WIDTH: tl.constexpr, WARPS: tl.constexpr, TURNS: tl.constexpr, TOKENS: tl.constexpr, EIGHT: tl.constexpr
):
    """Load vectors bfloat16 [TOKENS, WIDTH] at the columns of TURNS turns from `turn` on.

    Returns two entries per turn: the words [threads, 4] of the first eight columns, and of the other eight (8 bits
    only).
    """
    words = tl.multiple_of(v.to(tl.pointer_type(tl.int32)), 16)
    _, g, _ = lanes(WARPS)
    four = tl.arange(0, 4)[None, :]
    loaded = ()
    for n in tl.static_range(TURNS):
        column = first_column(turn + n, WARPS, EIGHT)
        held = ((g < TOKENS) & (column < WIDTH))[:, None]
        place = words + (g * (WIDTH // 2) + column // 2)[:, None] + four
        low = tl.load(place, mask=held, other=0)
        high = low
        if EIGHT:
            high = tl.load(place + 4, mask=held, other=0)
        loaded = loaded + (low, high)
    return loaded


@triton.jit
def in_steps(
    loaded, w, scales, first, second, v,
    WIDTH: tl.constexpr, STEPS: tl.constexpr, WARPS: tl.constexpr, TURNS: tl.constexpr, TOKENS: tl.constexpr,
    EIGHT: tl.constexpr,
):  # fmt: skip
    """Sums float32 [threads, 4] of rows `first` and `second` [threads] of W times vectors [TOKENS, WIDTH].

    The product is computed in STEPS steps of TURNS turns; `loaded` are the weights of the first step.
    """
    vectors = load_vectors(v, 0, WIDTH, WARPS, TURNS, TOKENS, EIGHT)
    acc = begin(vectors[0])
    zero = acc
    for step in tl.static_range(STEPS):
        now, here = loaded, vectors
        if step + 1 < STEPS:
            ahead = (step + 1) * TURNS
            loaded = load_rows(w, scales, first, second, ahead, WIDTH, WARPS, TURNS, EIGHT)
            vectors = load_vectors(v, ahead, WIDTH, WARPS, TURNS, TOKENS, EIGHT)
        if step == 0 or step + 1 < STEPS:
            acc, zero = in_order(acc, zero, EIGHT)
        for n in tl.static_range(TURNS):
            acc = times(now, n, here[2 * n], here[2 * n + 1], acc, zero, EIGHT)
    return acc


@triton.jit
def qkv_tiles_kernel(
    scaled, squares, w, scales, b, cos, sin, position, query, table,
    H: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    EPS: tl.constexpr, STEPS: tl.constexpr, WARPS: tl.constexpr, TOKENS: tl.constexpr, EIGHT: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """Like `qkv_kernel` in gemv.py. Program (i, j) computes rotary pairs 8 j to 8 j + 8 of head i.

    Rows g and g + 8 of the product are the two of a pair. The position is read early: it was known before the previous
    kernel began.
    """
    HALF: tl.constexpr = D // 2
    TAKEN: tl.constexpr = (64 if EIGHT else 32) * WARPS * STEPS
    TURNS: tl.constexpr = (H + TAKEN - 1) // TAKEN
    head, block = tl.program_id(0), tl.program_id(1)
    _, pair, _ = lanes(WARPS)
    first = head * D + tl.minimum(block * 8 + pair, HALF - 1)
    loaded = load_rows(w, scales, first, first + HALF, 0, H, WARPS, TURNS, EIGHT)
    row = tl.arange(0, 16)
    dim = tl.minimum(block * 8 + row % 8, HALF - 1)
    bias = tl.load(b + head * D + row // 8 * HALF + dim).to(tl.float32)
    token = tl.arange(0, 8)
    pos = tl.load(position, cache_modifier=".cg") + token
    d = block * 8 + tl.arange(0, 8)[:, None]
    real = (d < HALF) & (token < TOKENS)[None, :]
    c = tl.load(cos + pos[None, :] * HALF + d, mask=real, other=0.0)
    s = tl.load(sin + pos[None, :] * HALF + d, mask=real, other=0.0)
    is_value = (head >= Q + K).to(tl.int32)
    segment = table + is_value * SEGMENTS + (pos // SLOTS) % SEGMENTS
    base = tl.load(segment, mask=token < TOKENS, other=0)
    follow(OVERLAP)
    held = load_squares(squares, H, TOKENS)
    acc = in_steps(loaded, w, scales, first, first + HALF, scaled, H, STEPS, WARPS, TURNS, TOKENS, EIGHT)
    inverse = tl.rsqrt(tl.sum(held, 1) / H + EPS)
    out = rows_and_vectors(acc, WARPS) * inverse[None, :] + bias[:, None]
    even, odd = tl.split(tl.permute(tl.reshape(out, (2, 8, 8)), (1, 2, 0)))
    if head < Q + K:
        even, odd = even * c - odd * s, odd * c + even * s
    kind = query.dtype.element_ty
    if head < Q:
        target = query + ((token * Q + head) * D)[None, :] + d
    else:
        start_of = base.to(tl.pointer_type(kind)) + ((head - Q - is_value * K) * SLOTS + pos % SLOTS) * D
        target = start_of[None, :] + d
    tl.store(target, even.to(kind), mask=real)
    tl.store(target + HALF, odd.to(kind), mask=real)


@triton.jit
def out_tiles_kernel(
    a, w, scales, b, x,
    H: tl.constexpr, WIDTH: tl.constexpr, STEPS: tl.constexpr, WARPS: tl.constexpr, TOKENS: tl.constexpr,
    EIGHT: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """x [TOKENS, H] += W [H, WIDTH] a [TOKENS, WIDTH] + b [H]. Program i has rows 16 i to 16 i + 16."""
    TAKEN: tl.constexpr = (64 if EIGHT else 32) * WARPS * STEPS
    TURNS: tl.constexpr = (WIDTH + TAKEN - 1) // TAKEN
    _, g, _ = lanes(WARPS)
    row = tl.program_id(0) * 16 + tl.arange(0, 16)
    first = tl.program_id(0) * 16 + g
    second = tl.minimum(first + 8, H - 1)
    first = tl.minimum(first, H - 1)
    loaded = load_rows(w, scales, first, second, 0, WIDTH, WARPS, TURNS, EIGHT)
    bias = tl.load(b + row, mask=row < H, other=0.0).to(tl.float32)
    token = tl.arange(0, 8)[None, :]
    real = (row < H)[:, None] & (token < TOKENS)
    place = x + token * H + row[:, None]
    follow(OVERLAP)
    acc = in_steps(loaded, w, scales, first, second, a, WIDTH, STEPS, WARPS, TURNS, TOKENS, EIGHT)
    # Only one program adds to each element, so the order is fixed; an atomic add need not wait for the old value.
    tl.atomic_add(place, rows_and_vectors(acc, WARPS) + bias[:, None], mask=real, sem="relaxed")


@triton.jit
def logits_tiles_kernel(
    scaled, squares, w, scales, logits,
    H: tl.constexpr, V: tl.constexpr, EPS: tl.constexpr, PROGRAMS: tl.constexpr, STEPS: tl.constexpr,
    WARPS: tl.constexpr, TOKENS: tl.constexpr, EIGHT: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """logits float32 [TOKENS, V] = W [V, H] rms_norm(x).

    Program i computes every PROGRAMS-th strip of 16 rows, beginning with the i-th. The vectors stay in registers; the
    next 16 rows are loaded while the current ones are multiplied.
    """
    TAKEN: tl.constexpr = (64 if EIGHT else 32) * WARPS * STEPS
    TURNS: tl.constexpr = (H + TAKEN - 1) // TAKEN
    _, g, _ = lanes(WARPS)
    start, last = tl.program_id(0).to(tl.int64) * 16, tl.full((), V - 1, tl.int64)
    upper, lower = tl.minimum(start + g, last), tl.minimum(start + 8 + g, last)
    loaded = load_rows(w, scales, upper, lower, 0, H, WARPS, TURNS, EIGHT)
    follow(OVERLAP)
    vectors = load_vectors(scaled, 0, H, WARPS, TURNS * STEPS, TOKENS, EIGHT)
    inverse = tl.rsqrt(tl.sum(load_squares(squares, H, TOKENS), 1) / H + EPS)
    token = tl.arange(0, 8)[None, :]
    for first in tl.range(start, V, 16 * PROGRAMS):
        acc = begin(vectors[0])
        zero = acc
        for step in tl.static_range(STEPS):
            now = loaded
            if step + 1 == STEPS:
                ahead = first + 16 * PROGRAMS + g
                upper, lower = tl.minimum(ahead, last), tl.minimum(ahead + 8, last)
            loaded = load_rows(w, scales, upper, lower, (step + 1) % STEPS * TURNS, H, WARPS, TURNS, EIGHT)
            acc, zero = in_order(acc, zero, EIGHT)
            for n in tl.static_range(TURNS):
                low, high = vectors[2 * (step * TURNS + n)], vectors[2 * (step * TURNS + n) + 1]
                acc = times(now, n, low, high, acc, zero, EIGHT)
        out = rows_and_vectors(acc, WARPS) * inverse[None, :]
        row = first + tl.arange(0, 16)[:, None]
        tl.store(logits + token * V + row, out, mask=(row < V) & (token < TOKENS))
