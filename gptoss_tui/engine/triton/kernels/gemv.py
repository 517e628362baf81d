"""Dense products for a few tokens: a matrix times up to 8 vectors, fused with the operations around it.

For bfloat16 on a GPU, dense.py is used instead.

TOKENS is 1 for a plain decode step and larger where drafts are verified; the weights are read once for all tokens, and
the arithmetic for each token is the same whatever their number. H is the hidden size, Q the number of query heads, K
the number of key/value heads, D the head dimension. The residual stream `x` is float32 [TOKENS, H]; norm.py has its
norms.

A program loads its first weights before it waits for the previous kernel (see overlap.py), so the memory is kept busy
while that one ends. A thread holds 8 neighbouring weights of a row, so most of a sum is added up within one thread.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.norm import inverse_rms
from gptoss_tui.engine.triton.kernels.overlap import follow


@triton.jit
def columns_of(start, BLOCK: tl.constexpr):
    """The indices of BLOCK columns from `start` on: [BLOCK / 8, 8]."""
    return start + 8 * tl.arange(0, BLOCK // 8)[:, None] + tl.arange(0, 8)[None, :]


@triton.jit
def row_blocks(w, rows, row_mask, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Load rows [ROWS] of W [*, WIDTH]: a tuple of blocks [ROWS, BLOCK / 8, 8] in W's dtype."""
    blocks = ()
    for start in tl.static_range(0, WIDTH, BLOCK):
        k = columns_of(start, BLOCK)[None, :, :]
        place = w + rows[:, None, None] * WIDTH + k
        blocks = blocks + (tl.load(place, mask=row_mask[:, None, None] & (k < WIDTH), other=0.0),)
    return blocks


@triton.jit
def vector_blocks(v, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Load a vector [WIDTH], all of it at once: a tuple of blocks [BLOCK / 8, 8] in its dtype."""
    blocks = ()
    for start in tl.static_range(0, WIDTH, BLOCK):
        k = columns_of(start, BLOCK)
        blocks = blocks + (tl.load(v + k, mask=k < WIDTH, other=0.0),)
    return blocks


@triton.jit
def rows_times(blocks, vectors, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr):
    """Multiply blocks from `row_blocks` by vectors [TOKENS, WIDTH]: a tuple with float32 [ROWS] for each token."""
    out = ()
    for m in tl.static_range(TOKENS):
        values = vector_blocks(vectors + m * WIDTH, WIDTH, BLOCK)
        acc = tl.zeros((ROWS, BLOCK // 8), tl.float32)
        for n in tl.static_range((WIDTH + BLOCK - 1) // BLOCK):
            acc += tl.sum(blocks[n].to(tl.float32) * values[n].to(tl.float32)[None, :, :], 2)
        out = out + (tl.sum(acc, 1),)
    return out


@triton.jit
def qkv_rows(head, step, D: tl.constexpr, PAIRS: tl.constexpr):
    """Rows [2 * PAIRS] of the projection for the rotary pairs from step * PAIRS on, and a mask of those that exist.

    All rows d come first, then their partners d + D / 2.
    """
    both = tl.arange(0, 2 * PAIRS)
    dim = step * PAIRS + both % PAIRS
    return head * D + (both // PAIRS) * (D // 2) + dim, dim < D // 2


@triton.jit
def qkv_kernel(
    scaled, squares, w, b, cos, sin, position, query, table,
    H: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    EPS: tl.constexpr, PAIRS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """Norm, QKV, bias and rotary positions; queries go to `query` [TOKENS, Q, D], keys and values to the cache.

    `scaled` and `squares` as in norm.py; w [(Q + 2 K) D, H]; b [(Q + 2 K) D]; cos, sin float32 [context, D / 2];
    position int64 [1] of the first token; table int64 [2, SEGMENTS]: where the layer's keys and values are (see
    kv_cache.py). Program (i, j) computes head i, in each of STEPS steps PAIRS rotary pairs (rows d and d + D / 2); the
    weights of the next step are loaded during the current one.
    """
    HALF: tl.constexpr = D // 2
    head, first_step = tl.program_id(0), tl.program_id(1) * STEPS
    rows, there = qkv_rows(head, first_step, D, PAIRS)
    blocks = row_blocks(w, rows, there, H, BLOCK)
    follow(OVERLAP)
    start = tl.load(position)
    kind = query.dtype.element_ty
    is_value = (head >= Q + K).to(tl.int32)
    for step in tl.static_range(STEPS):
        rows, there = qkv_rows(head, first_step + step, D, PAIRS)
        now = blocks
        if step + 1 < STEPS:
            next_rows, next_there = qkv_rows(head, first_step + step + 1, D, PAIRS)
            blocks = row_blocks(w, next_rows, next_there, H, BLOCK)
        bias = tl.load(b + rows, mask=there, other=0.0)
        outs = rows_times(now, scaled, H, 2 * PAIRS, BLOCK, TOKENS)
        pair = (first_step + step) * PAIRS + tl.arange(0, PAIRS)
        mask = pair < HALF
        for n in tl.static_range(TOKENS):
            out = outs[n] * inverse_rms(squares, n, H, EPS) + bias
            first, second = tl.split(tl.trans(tl.reshape(out, (2, PAIRS))))
            pos = start + n
            if head < Q + K:
                c = tl.load(cos + pos * HALF + pair, mask=mask, other=0.0)
                s = tl.load(sin + pos * HALF + pair, mask=mask, other=0.0)
                first, second = first * c - second * s, second * c + first * s
            if head < Q:
                target = query + (n * Q + head) * D
            else:
                base = tl.load(table + is_value * SEGMENTS + (pos // SLOTS) % SEGMENTS).to(tl.pointer_type(kind))
                target = base + ((head - Q - is_value * K) * SLOTS + pos % SLOTS) * D
            tl.store(target + pair, first.to(kind), mask=mask)
            tl.store(target + HALF + pair, second.to(kind), mask=mask)


@triton.jit
def out_kernel(
    a, w, b, x, H: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
    TOKENS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """x [TOKENS, H] += W [H, WIDTH] a [TOKENS, WIDTH] + b [H]. Each program has ROWS rows in each of STEPS steps."""
    first = tl.program_id(0) * STEPS * ROWS
    rows = first + tl.arange(0, ROWS)
    blocks = row_blocks(w, rows, rows < H, WIDTH, BLOCK)
    follow(OVERLAP)
    for step in tl.static_range(STEPS):
        rows = first + step * ROWS + tl.arange(0, ROWS)
        mask = rows < H
        now = blocks
        if step + 1 < STEPS:
            blocks = row_blocks(w, rows + ROWS, rows + ROWS < H, WIDTH, BLOCK)
        bias = tl.load(b + rows, mask=mask, other=0.0)
        outs = rows_times(now, a, WIDTH, ROWS, BLOCK, TOKENS)
        for m in tl.static_range(TOKENS):
            place = x + m * H + rows
            tl.store(place, tl.load(place, mask=mask, other=0.0) + (outs[m] + bias), mask=mask)
