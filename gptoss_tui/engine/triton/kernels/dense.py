"""A few tokens: a bfloat16 matrix times up to 8 vectors on the tensor cores (see mma.py), with what is around it.

They take 8 vectors at a time in any case: one token and eight cost the same arithmetic, and are to get the same result,
bit for bit. Letters are those of gemv.py, which is the way for other dtypes. A norm needs the whole vector before its
first use; here the product with g * x, rounded to bfloat16, and the sum of squares are taken in one pass and divided at
the end. A program has 16 rows and all their columns: its warps take 32 columns each in turns.

With EIGHT the matrix is in 8 bits (see ../dense.py): int8, and bfloat16 `scales` [*, K / 64] of each 64 columns, which
is what a warp takes then. Elsewhere nobody reads `scales`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.mma import dense_product, eight_bit_product, lanes, rows_and_vectors, scaled_words
from gptoss_tui.engine.triton.kernels.overlap import follow


@triton.jit
def first_column(turn, WARPS: tl.constexpr, EIGHT: tl.constexpr):
    """The first of the 8 columns that each thread has in a turn, or of 16 in 8 bits: [threads]."""
    warp, _, q = lanes(WARPS)
    return ((turn * WARPS + warp) * 4 + q) * (16 if EIGHT else 8)


@triton.jit
def load_rows(
    w, scales, first, second, turn,
    WIDTH: tl.constexpr, WARPS: tl.constexpr, TURNS: tl.constexpr, EIGHT: tl.constexpr,
):  # fmt: skip
    """Rows `first` and `second` [threads] of W [*, WIDTH] in TURNS turns from `turn` on.

    Four entries a turn: words [threads, 4] of each row, and in 8 bits their scales [threads].
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
def times(loaded, n: tl.constexpr, low, high, acc, EIGHT: tl.constexpr):
    """`acc` [threads, 4] plus the n-th turn of `loaded` times vectors; `high` counts in 8 bits only."""
    if EIGHT:
        scale = tl.where(tl.arange(0, 4)[None, :] < 2, loaded[4 * n + 2][:, None], loaded[4 * n + 3][:, None])
        return acc + eight_bit_product(loaded[4 * n], loaded[4 * n + 1], low, high) * scale
    else:
        return dense_product(loaded[4 * n], loaded[4 * n + 1], low, acc)


@triton.jit
def load_vectors(v, column, WIDTH: tl.constexpr, WARPS: tl.constexpr, TOKENS: tl.constexpr):
    """Words [threads, 4] of eight columns from `column` [threads] on, of vectors bfloat16 [TOKENS, WIDTH]."""
    words = tl.multiple_of(v.to(tl.pointer_type(tl.int32)), 16)
    _, g, _ = lanes(WARPS)
    held = ((g < TOKENS) & (column < WIDTH))[:, None]
    return tl.load(words + (g * (WIDTH // 2) + column // 2)[:, None] + tl.arange(0, 4)[None, :], mask=held, other=0)


@triton.jit
def scaled_vectors(x, gains, column, H: tl.constexpr, WARPS: tl.constexpr, TOKENS: tl.constexpr):
    """Words [threads, 4] of g * x, x float32 [TOKENS, H], for eight columns, and x * x, two columns in each place."""
    _, g, _ = lanes(WARPS)
    inside = (column < H)[:, None]
    held = inside & (g < TOKENS)[:, None]
    place, four = (g * H + column)[:, None], tl.arange(0, 4)[None, :]
    x0, x1 = tl.load(x + place + four, mask=held, other=0.0), tl.load(x + place + 4 + four, mask=held, other=0.0)
    gain = gains + column[:, None] + four
    g0, g1 = tl.load(gain, mask=inside, other=0.0), tl.load(gain + 4, mask=inside, other=0.0)
    return scaled_words(x0, x1, g0, g1), x0 * x0 + x1 * x1


@triton.jit
def scaled_turn(x, gains, turn, H: tl.constexpr, WARPS: tl.constexpr, TOKENS: tl.constexpr, EIGHT: tl.constexpr):
    """`scaled_vectors` of a turn: its first eight columns, in 8 bits the others, and the squares of all."""
    column = first_column(turn, WARPS, EIGHT)
    low, squares = scaled_vectors(x, gains, column, H, WARPS, TOKENS)
    high = low
    if EIGHT:
        high, more = scaled_vectors(x, gains, column + 8, H, WARPS, TOKENS)
        squares += more
    return low, high, squares


@triton.jit
def inverse_rms(squares, H: tl.constexpr, EPS: tl.constexpr, WARPS: tl.constexpr):
    """1 / rms [8] of each vector, of the sums of squares [threads, 4]."""
    of_vector = tl.permute(tl.reshape(squares, (WARPS, 8, 16)), (1, 0, 2))
    return tl.rsqrt(tl.sum(tl.reshape(of_vector, (8, 16 * WARPS)), 1) / H + EPS)


@triton.jit
def qkv_tiles_kernel(
    x, g, w, scales, b, cos, sin, position, query, table,
    H: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    EPS: tl.constexpr, WARPS: tl.constexpr, TOKENS: tl.constexpr, EIGHT: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """As `qkv_kernel` of gemv.py. Program (i, j): of head i the rotary pairs 8 j to 8 j + 8.

    The rows g and g + 8 of the product are the two of a pair.
    """
    HALF: tl.constexpr = D // 2
    TAKEN: tl.constexpr = 64 * WARPS if EIGHT else 32 * WARPS
    TURNS: tl.constexpr = (H + TAKEN - 1) // TAKEN
    head, block = tl.program_id(0), tl.program_id(1)
    _, pair, _ = lanes(WARPS)
    first = head * D + tl.minimum(block * 8 + pair, HALF - 1)
    loaded = load_rows(w, scales, first, first + HALF, 0, H, WARPS, TURNS, EIGHT)
    row = tl.arange(0, 16)
    dim = tl.minimum(block * 8 + row % 8, HALF - 1)
    bias = tl.load(b + head * D + row // 8 * HALF + dim).to(tl.float32)
    follow(OVERLAP)
    start = tl.load(position)
    acc = tl.zeros((32 * WARPS, 4), tl.float32)
    squares = tl.zeros((32 * WARPS, 4), tl.float32)
    for turn in tl.static_range(TURNS):
        low, high, more = scaled_turn(x, g, turn, H, WARPS, TOKENS, EIGHT)
        squares += more
        acc = times(loaded, turn, low, high, acc, EIGHT)
    out = rows_and_vectors(acc, WARPS) * inverse_rms(squares, H, EPS, WARPS)[None, :] + bias[:, None]
    even, odd = tl.split(tl.permute(tl.reshape(out, (2, 8, 8)), (1, 2, 0)))
    token = tl.arange(0, 8)
    pos = start + token
    d = block * 8 + tl.arange(0, 8)[:, None]
    real = (d < HALF) & (token < TOKENS)[None, :]
    if head < Q + K:
        c = tl.load(cos + pos[None, :] * HALF + d, mask=real, other=0.0)
        s = tl.load(sin + pos[None, :] * HALF + d, mask=real, other=0.0)
        even, odd = even * c - odd * s, odd * c + even * s
    kind = query.dtype.element_ty
    if head < Q:
        target = query + ((token * Q + head) * D)[None, :] + d
    else:
        is_value = (head >= Q + K).to(tl.int32)
        base = tl.load(table + is_value * SEGMENTS + (pos // SLOTS) % SEGMENTS, mask=token < TOKENS, other=0)
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
    """x [TOKENS, H] += W [H, WIDTH] a [TOKENS, WIDTH] + b [H]. Program i has rows 16 i to 16 i + 16.

    The turns are taken in STEPS steps, of which the next one's weights are on their way during one.
    """
    TAKEN: tl.constexpr = (64 if EIGHT else 32) * WARPS * STEPS
    TURNS: tl.constexpr = (WIDTH + TAKEN - 1) // TAKEN
    _, g, _ = lanes(WARPS)
    row = tl.program_id(0) * 16 + tl.arange(0, 16)
    first = tl.program_id(0) * 16 + g
    second = tl.minimum(first + 8, H - 1)
    first = tl.minimum(first, H - 1)
    loaded = load_rows(w, scales, first, second, 0, WIDTH, WARPS, TURNS, EIGHT)
    bias = tl.load(b + row, mask=row < H, other=0.0).to(tl.float32)
    follow(OVERLAP)
    acc = tl.zeros((32 * WARPS, 4), tl.float32)
    for step in tl.static_range(STEPS):
        now = loaded
        if step + 1 < STEPS:
            loaded = load_rows(w, scales, first, second, (step + 1) * TURNS, WIDTH, WARPS, TURNS, EIGHT)
        for n in tl.static_range(TURNS):
            column = first_column(step * TURNS + n, WARPS, EIGHT)
            low = load_vectors(a, column, WIDTH, WARPS, TOKENS)
            high = low
            if EIGHT:
                high = load_vectors(a, column + 8, WIDTH, WARPS, TOKENS)
            acc = times(now, n, low, high, acc, EIGHT)
    out = rows_and_vectors(acc, WARPS) + bias[:, None]
    token = tl.arange(0, 8)[None, :]
    real = (row < H)[:, None] & (token < TOKENS)
    place = x + token * H + row[:, None]
    tl.store(place, tl.load(place, mask=real, other=0.0) + out, mask=real)


@triton.jit
def logits_tiles_kernel(
    x, g, w, scales, logits,
    H: tl.constexpr, V: tl.constexpr, EPS: tl.constexpr, STRIPS: tl.constexpr, WARPS: tl.constexpr,
    TOKENS: tl.constexpr, EIGHT: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """logits float32 [TOKENS, V] = W [V, H] (rms_norm(x) * g). Program i has STRIPS times 16 rows.

    The vectors stay in registers; the next 16 rows are on their way while some are multiplied.
    """
    TAKEN: tl.constexpr = 64 * WARPS if EIGHT else 32 * WARPS
    TURNS: tl.constexpr = (H + TAKEN - 1) // TAKEN
    _, lane, _ = lanes(WARPS)
    start = tl.program_id(0).to(tl.int64) * STRIPS * 16
    first, last = start + lane, tl.full((), V - 1, tl.int64)
    loaded = load_rows(w, scales, tl.minimum(first, last), tl.minimum(first + 8, last), 0, H, WARPS, TURNS, EIGHT)
    follow(OVERLAP)
    vectors = ()
    squares = tl.zeros((32 * WARPS, 4), tl.float32)
    for turn in tl.static_range(TURNS):
        low, high, more = scaled_turn(x, g, turn, H, WARPS, TOKENS, EIGHT)
        squares += more
        vectors = vectors + (low, high)
    inverse = inverse_rms(squares, H, EPS, WARPS)
    token = tl.arange(0, 8)[None, :]
    for strip in tl.static_range(STRIPS):
        now = loaded
        if strip + 1 < STRIPS:
            ahead = first + 16 * (strip + 1)
            rows, others = tl.minimum(ahead, last), tl.minimum(ahead + 8, last)
            loaded = load_rows(w, scales, rows, others, 0, H, WARPS, TURNS, EIGHT)
        acc = tl.zeros((32 * WARPS, 4), tl.float32)
        for turn in tl.static_range(TURNS):
            acc = times(now, turn, vectors[2 * turn], vectors[2 * turn + 1], acc, EIGHT)
        out = rows_and_vectors(acc, WARPS) * inverse[None, :]
        row = start + 16 * strip + tl.arange(0, 16)[:, None]
        tl.store(logits + token * V + row, out, mask=(row < V) & (token < TOKENS))
