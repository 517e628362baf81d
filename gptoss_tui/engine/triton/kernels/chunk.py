"""The operations between the matrix products of a prefill chunk, for many tokens.

T is the number of tokens in the chunk, H the hidden size, Q the number of query heads, K of key/value heads, D the head
dimension. The residual stream x is float32 [T, H].
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.attention import LOG2_E, keys_and_values, take_in, write_mixed


@triton.jit
def embed_kernel(ids, embedding, x, H: tl.constexpr, H2: tl.constexpr):
    """x [T, H] float32 = rows of embedding; ids int64 [T]. One program per token."""
    token = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, H2)
    row = tl.load(embedding + tl.load(ids + token) * H + k, mask=k < H, other=0.0)
    tl.store(x + token * H + k, row.to(tl.float32), mask=k < H)


@triton.jit
def add_norm_kernel(
    x, added, g, out, H: tl.constexpr, H2: tl.constexpr, PARTS: tl.constexpr, EPS: tl.constexpr
):  # fmt: skip
    """x += the sum of added [T, PARTS, H]; out [T, H] = rms_norm(x) * g. PARTS 0 adds nothing. A program per token."""
    token = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, H2)
    inside = k < H
    value = tl.load(x + token * H + k, mask=inside, other=0.0)
    for part in tl.static_range(PARTS):
        value += tl.load(added + (token * PARTS + part) * H + k, mask=inside, other=0.0).to(tl.float32)
    if PARTS:
        tl.store(x + token * H + k, value, mask=inside)
    normed = value * tl.rsqrt(tl.sum(value * value, 0) / H + EPS) * tl.load(g + k, mask=inside, other=0.0)
    tl.store(out + token * H + k, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def turn_append_kernel(
    qkv, cos, sin, position, query, table,
    Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    HEADS: tl.constexpr,
):  # fmt: skip
    """Apply rotary positions; queries go to `query` [T, Q, D], keys and values into the cache from `position` on.

    qkv [T, (Q + 2 K) D]; cos, sin float32 [context, D / 2]; position int64 [1]; HEADS is Q + 2 K rounded up to a power
    of two. One program per token.
    """
    HALF: tl.constexpr = D // 2
    token = tl.program_id(0).to(tl.int64)
    pos = tl.load(position) + token
    head, dim = tl.arange(0, HEADS)[:, None], tl.arange(0, HALF)[None, :]
    real = head < Q + 2 * K
    place = (token * (Q + 2 * K) + head) * D + dim
    first = tl.load(qkv + place, mask=real, other=0.0).to(tl.float32)
    second = tl.load(qkv + place + HALF, mask=real, other=0.0).to(tl.float32)
    turns = head < Q + K
    c = tl.where(turns, tl.load(cos + pos * HALF + dim), 1.0)
    s = tl.where(turns, tl.load(sin + pos * HALF + dim), 0.0)
    low, high = first * c - second * s, second * c + first * s
    kind = query.dtype.element_ty
    target = query + (token * Q + head) * D + dim
    tl.store(target, low.to(kind), mask=head < Q)
    tl.store(target + HALF, high.to(kind), mask=head < Q)
    segment = (pos // SLOTS) % SEGMENTS
    slot = pos % SLOTS
    keys = tl.load(table + segment).to(tl.pointer_type(kind))
    values = tl.load(table + SEGMENTS + segment).to(tl.pointer_type(kind))
    is_key = (head >= Q) & (head < Q + K)
    key_place = keys + ((head - Q) * SLOTS + slot) * D + dim
    tl.store(key_place, low.to(kind), mask=is_key)
    tl.store(key_place + HALF, high.to(kind), mask=is_key)
    is_value = (head >= Q + K) & real
    value_place = values + ((head - Q - K) * SLOTS + slot) * D + dim
    tl.store(value_place, low.to(kind), mask=is_value)
    tl.store(value_place + HALF, high.to(kind), mask=is_value)


@triton.jit(do_not_specialize=["tokens"])
def flash_kernel(
    query, table, sinks, position, out, tokens, scale,
    Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    WINDOW: tl.constexpr, QUERIES: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out [T, Q, D]: causal softmax attention with sinks over the cache, which already holds the chunk's own keys.

    query [T, Q, D]; sinks [Q]; the first query is at `position` int64 [1]; WINDOW 0 means no window. Program (i, h)
    handles QUERIES tokens from i * QUERIES on, with all query heads of key/value head h, so that keys are read once for
    all of them: row r is token r // GROUP, head r % GROUP, where GROUP is Q / K rounded up to a power of two.
    """
    G: tl.constexpr = Q // K
    ROWS: tl.constexpr = QUERIES * GROUP
    head = tl.program_id(1)
    row, dim = tl.arange(0, ROWS), tl.arange(0, D)
    token = tl.program_id(0) * QUERIES + row // GROUP
    inner = row % GROUP
    real = (token < tokens) & (inner < G)
    kind = query.dtype.element_ty
    place = (token.to(tl.int64) * Q + head * G + inner)[:, None] * D + dim[None, :]
    q = tl.load(query + place, mask=real[:, None], other=0.0)
    origin = tl.load(position)
    where = origin + token
    first_query = origin + tl.program_id(0) * QUERIES
    end = tl.minimum(first_query + QUERIES, origin + tokens)
    begin = tl.maximum(first_query + 1 - WINDOW, 0) if WINDOW else first_query * 0
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    mass = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, D), tl.float32)
    begin = begin // BLOCK * BLOCK
    # Without a window, all rows see the keys before the first query: these blocks need no mask.
    middle = begin if WINDOW else first_query // BLOCK * BLOCK
    for first in tl.range(begin, middle, BLOCK):
        keys, values = keys_and_values(table, first, head, end, kind, D, SLOTS, SEGMENTS, BLOCK)
        scores = tl.dot(q, tl.trans(keys), input_precision="ieee") * (scale * LOG2_E)
        top, mass, acc = take_in(scores, values, top, mass, acc, kind)
    for first in tl.range(middle, end, BLOCK):
        keys, values = keys_and_values(table, first, head, end, kind, D, SLOTS, SEGMENTS, BLOCK)
        seen = first + tl.arange(0, BLOCK)
        visible = seen[None, :] <= where[:, None]
        if WINDOW:
            visible &= seen[None, :] > where[:, None] - WINDOW
        scores = tl.dot(q, tl.trans(keys), input_precision="ieee") * (scale * LOG2_E)
        scores = tl.where(visible, scores, float("-inf"))
        top, mass, acc = take_in(scores, values, top, mass, acc, kind)
    sink = tl.load(sinks + head * G + inner, mask=inner < G, other=0.0).to(tl.float32)
    write_mixed(out, acc, top, mass, sink, place, real)
