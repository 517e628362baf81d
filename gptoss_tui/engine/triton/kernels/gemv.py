"""One token: a bfloat16 matrix times a vector, with what comes before and after it fused in.

H hidden, Q query heads, K key/value heads, D head_dim. The residual stream `x` is float32 [H]. A norm needs the whole
vector before its first use; here the product with the unnormed vector and the sum of squares are taken in one pass and
divided at the end: W (g * x) / rms(x).
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def normed_rows(w, rows, row_mask, x, g, H: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Rows [ROWS] of W [*, H] times rms_norm(x) * g: float32 [ROWS]."""
    acc = tl.zeros((ROWS, BLOCK), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in tl.range(0, H, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < H
        weight = tl.load(w + rows[:, None] * H + k[None, :], mask=row_mask[:, None] & inside[None, :], other=0.0)
        value = tl.load(x + k, mask=inside, other=0.0)
        scaled = value * tl.load(g + k, mask=inside, other=0.0)
        acc += weight.to(tl.float32) * scaled[None, :]
        squares += value * value
    return tl.sum(acc, 1) * tl.rsqrt(tl.sum(squares, 0) / H + EPS)


@triton.jit
def qkv_kernel(
    x, g, w, b, cos, sin, position, query, table,
    H: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    EPS: tl.constexpr, PAIRS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Norm, QKV, bias, rotary positions; queries to `query` [Q, D], the key and the value into the cache.

    x, g float32 [H]; w [(Q + 2 K) D, H]; b [(Q + 2 K) D]; cos, sin float32 [context, D / 2]; position int64 [1];
    table int64 [2, SEGMENTS]: where the layer's keys and values are (see kv_cache.py).
    Program (i, j): head i, rotary pairs j * PAIRS to (j + 1) * PAIRS, that is rows d and d + D / 2.
    """
    HALF: tl.constexpr = D // 2
    head = tl.program_id(0)
    pair = tl.program_id(1) * PAIRS + tl.arange(0, PAIRS)
    both = tl.arange(0, 2 * PAIRS)
    dim = tl.program_id(1) * PAIRS + both % PAIRS
    rows = head * D + (both // PAIRS) * HALF + dim
    out = normed_rows(w, rows, dim < HALF, x, g, H, EPS, 2 * PAIRS, BLOCK)
    out += tl.load(b + rows, mask=dim < HALF, other=0.0)
    first, second = tl.split(tl.trans(tl.reshape(out, (2, PAIRS))))
    mask = pair < HALF
    pos = tl.load(position)
    if head < Q + K:
        c = tl.load(cos + pos * HALF + pair, mask=mask, other=0.0)
        s = tl.load(sin + pos * HALF + pair, mask=mask, other=0.0)
        first, second = first * c - second * s, second * c + first * s
    kind = query.dtype.element_ty
    if head < Q:
        target = query + head * D
    else:
        is_value = (head >= Q + K).to(tl.int32)
        segment = (pos // SLOTS) % SEGMENTS
        base = tl.load(table + is_value * SEGMENTS + segment).to(tl.pointer_type(kind))
        target = base + ((head - Q - is_value * K) * SLOTS + pos % SLOTS) * D
    tl.store(target + pair, first.to(kind), mask=mask)
    tl.store(target + HALF + pair, second.to(kind), mask=mask)


@triton.jit
def out_kernel(
    a, w, b, x, H: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """x [H] += W [H, WIDTH] a [WIDTH] + b [H]. Each program owns ROWS rows."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mask = rows < H
    acc = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in tl.range(0, WIDTH, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < WIDTH
        weight = tl.load(w + rows[:, None] * WIDTH + k[None, :], mask=mask[:, None] & inside[None, :], other=0.0)
        acc += weight.to(tl.float32) * tl.load(a + k, mask=inside, other=0.0).to(tl.float32)[None, :]
    out = tl.sum(acc, 1) + tl.load(b + rows, mask=mask, other=0.0)
    tl.store(x + rows, tl.load(x + rows, mask=mask, other=0.0) + out, mask=mask)


@triton.jit
def router_kernel(
    x, g, w, b, scores, t, H: tl.constexpr, E: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """t [H] = rms_norm(x) * g, and the router's scores [E] float32 = W [E, H] t + b.

    Program i makes score i, and its share of t: what the experts read must not be computed by each of their programs.
    """
    expert = tl.program_id(0)
    acc = tl.zeros((BLOCK,), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in tl.range(0, H, BLOCK):
        k = start + tl.arange(0, BLOCK)
        value = tl.load(x + k, mask=k < H, other=0.0)
        weight = tl.load(w + expert * H + k, mask=k < H, other=0.0).to(tl.float32)
        acc += weight * value * tl.load(g + k, mask=k < H, other=0.0)
        squares += value * value
    inverse = tl.rsqrt(tl.sum(squares, 0) / H + EPS)
    tl.store(scores + expert, tl.sum(acc, 0) * inverse + tl.load(b + expert))
    share = (H + E - 1) // E
    for start in tl.range(0, share, BLOCK):
        k = expert * share + start + tl.arange(0, BLOCK)
        mine = (k < H) & (k < (expert + 1) * share)
        value = tl.load(x + k, mask=mine, other=0.0) * tl.load(g + k, mask=mine, other=0.0) * inverse
        tl.store(t + k, value.to(t.dtype.element_ty), mask=mine)
