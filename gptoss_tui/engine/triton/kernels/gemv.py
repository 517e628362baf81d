"""A few tokens: a bfloat16 matrix times up to 8 vectors, with what comes before and after it fused in.

TOKENS is 1 for a decode step and more where drafts are verified; the weights are read once for all of them, and the
arithmetic for each is the same whatever their number. H hidden, Q query heads, K key/value heads, D head_dim. The
residual stream `x` is float32 [TOKENS, H]. A norm needs the whole vector before its first use; here the product with
the unnormed vector and the sum of squares are taken in one pass and divided at the end: W (g * x) / rms(x).
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def normed_rows(
    w, rows, row_mask, x, g,
    H: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Rows [ROWS] of W [*, H] times rms_norm(x) * g: float32 [ROWS] for each token, in a tuple."""
    accs = (tl.zeros((ROWS, BLOCK), tl.float32),) * TOKENS
    squares = (tl.zeros((BLOCK,), tl.float32),) * TOKENS
    for start in tl.range(0, H, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < H
        weight = tl.load(w + rows[:, None] * H + k[None, :], mask=row_mask[:, None] & inside[None, :], other=0.0)
        weight = weight.to(tl.float32)
        gain = tl.load(g + k, mask=inside, other=0.0)
        new_accs = ()
        new_squares = ()
        for n in tl.static_range(TOKENS):
            value = tl.load(x + n * H + k, mask=inside, other=0.0)
            new_accs = new_accs + (accs[n] + weight * (value * gain)[None, :],)
            new_squares = new_squares + (squares[n] + value * value,)
        accs = new_accs
        squares = new_squares
    out = ()
    for n in tl.static_range(TOKENS):
        out = out + (tl.sum(accs[n], 1) * tl.rsqrt(tl.sum(squares[n], 0) / H + EPS),)
    return out


@triton.jit
def qkv_kernel(
    x, g, w, b, cos, sin, position, query, table,
    H: tl.constexpr, Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    EPS: tl.constexpr, PAIRS: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Norm, QKV, bias, rotary positions; queries to `query` [TOKENS, Q, D], keys and values into the cache.

    x float32 [TOKENS, H]; g float32 [H]; w [(Q + 2 K) D, H]; b [(Q + 2 K) D]; cos, sin float32 [context, D / 2];
    position int64 [1] of the first token; table int64 [2, SEGMENTS]: where the layer's keys and values are (see
    kv_cache.py). Program (i, j): head i, rotary pairs j * PAIRS to (j + 1) * PAIRS, that is rows d and d + D / 2.
    """
    HALF: tl.constexpr = D // 2
    head = tl.program_id(0)
    pair = tl.program_id(1) * PAIRS + tl.arange(0, PAIRS)
    both = tl.arange(0, 2 * PAIRS)
    dim = tl.program_id(1) * PAIRS + both % PAIRS
    rows = head * D + (both // PAIRS) * HALF + dim
    outs = normed_rows(w, rows, dim < HALF, x, g, H, EPS, 2 * PAIRS, BLOCK, TOKENS)
    bias = tl.load(b + rows, mask=dim < HALF, other=0.0)
    mask = pair < HALF
    kind = query.dtype.element_ty
    is_value = (head >= Q + K).to(tl.int32)
    for n in tl.static_range(TOKENS):
        first, second = tl.split(tl.trans(tl.reshape(outs[n] + bias, (2, PAIRS))))
        pos = tl.load(position) + n
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
    a, w, b, x, H: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr
):  # fmt: skip
    """x [TOKENS, H] += W [H, WIDTH] a [TOKENS, WIDTH] + b [H]. Each program owns ROWS rows."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mask = rows < H
    accs = (tl.zeros((ROWS, BLOCK), tl.float32),) * TOKENS
    for start in tl.range(0, WIDTH, BLOCK):
        k = start + tl.arange(0, BLOCK)
        inside = k < WIDTH
        weight = tl.load(w + rows[:, None] * WIDTH + k[None, :], mask=mask[:, None] & inside[None, :], other=0.0)
        weight = weight.to(tl.float32)
        new_accs = ()
        for n in tl.static_range(TOKENS):
            value = tl.load(a + n * WIDTH + k, mask=inside, other=0.0).to(tl.float32)
            new_accs = new_accs + (accs[n] + weight * value[None, :],)
        accs = new_accs
    bias = tl.load(b + rows, mask=mask, other=0.0)
    for n in tl.static_range(TOKENS):
        place = x + n * H + rows
        tl.store(place, tl.load(place, mask=mask, other=0.0) + (tl.sum(accs[n], 1) + bias), mask=mask)


@triton.jit
def router_kernel(
    x, g, w, b, scores, t, H: tl.constexpr, E: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """t [TOKENS, H] = rms_norm(x) * g, and the router's scores [TOKENS, E] float32 = W [E, H] t + b.

    Program (i, n) makes score i of token n, and its share of t: what the experts read must not be computed by each of
    their programs.
    """
    expert, token = tl.program_id(0), tl.program_id(1)
    acc = tl.zeros((BLOCK,), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in tl.range(0, H, BLOCK):
        k = start + tl.arange(0, BLOCK)
        value = tl.load(x + token * H + k, mask=k < H, other=0.0)
        weight = tl.load(w + expert * H + k, mask=k < H, other=0.0).to(tl.float32)
        acc += weight * value * tl.load(g + k, mask=k < H, other=0.0)
        squares += value * value
    inverse = tl.rsqrt(tl.sum(squares, 0) / H + EPS)
    tl.store(scores + token * E + expert, tl.sum(acc, 0) * inverse + tl.load(b + expert))
    share = (H + E - 1) // E
    for start in tl.range(0, share, BLOCK):
        k = expert * share + start + tl.arange(0, BLOCK)
        mine = (k < H) & (k < (expert + 1) * share)
        value = tl.load(x + token * H + k, mask=mine, other=0.0) * tl.load(g + k, mask=mine, other=0.0) * inverse
        tl.store(t + token * H + k, value.to(t.dtype.element_ty), mask=mine)
