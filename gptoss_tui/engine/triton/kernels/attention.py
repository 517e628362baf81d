"""Attention for a few tokens: the keys are split over programs, and the last one to finish combines the parts.

G = Q / K query heads share a key/value head. A sink is one more score per head, with no value.

A token's result depends on its position and on SPLITS alone, bit for bit: a part has every SPLITS-th block of keys,
counted from position 0, and keys that a token does not see change nothing. So drafts do not change an answer.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.overlap import follow

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def keys_and_values(
    table, first, head, limit, kind: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Load keys and values [BLOCK, D] of positions `first` to `first` + BLOCK, with zeros from `limit` on.

    `first` is a multiple of BLOCK, and BLOCK divides SLOTS, so the block lies in one segment, in order.
    """
    segment = (first // SLOTS) % SEGMENTS
    row = tl.arange(0, BLOCK)
    dim = tl.arange(0, D)
    offset = (head * SLOTS + first % SLOTS + row)[:, None] * D + dim[None, :]
    held = ((first + row) < limit)[:, None]
    keys = tl.multiple_of(tl.load(table + segment).to(tl.pointer_type(kind)), 16)
    values = tl.multiple_of(tl.load(table + SEGMENTS + segment).to(tl.pointer_type(kind)), 16)
    return tl.load(keys + offset, mask=held, other=0.0), tl.load(values + offset, mask=held, other=0.0)


@triton.jit
def take_in(scores, values, top, mass, acc, kind: tl.constexpr):
    """Add a block of scores [ROWS, N] and values [N, D] to a running softmax; returns its new maximum, mass and sum.

    The device computes powers of 2, so scores and maxima are those of a softmax to base 2: multiplied by log2(e).
    """
    # The new maximum is finite, so that a row that sees nothing of this block stays as it is.
    new_top = tl.maximum(tl.maximum(top, tl.max(scores, 1)), -1e30)
    shrink = tl.exp2(top - new_top)
    weights = tl.exp2(scores - new_top[:, None])
    acc = acc * shrink[:, None] + tl.dot(weights.to(kind), values, input_precision="ieee")
    return new_top, mass * shrink + tl.sum(weights, 1), acc


@triton.jit
def attend_kernel(
    query, table, sinks, position, out, parts, stats, arrived, scale,
    Q: tl.constexpr, K: tl.constexpr, D: tl.constexpr, SLOTS: tl.constexpr, SEGMENTS: tl.constexpr,
    WINDOW: tl.constexpr, SPLITS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
    TOKENS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """out [TOKENS, Q, D] = softmax(scale * query keys^T, with sinks) values; the first token is at `position`.

    query [TOKENS, Q, D]; sinks [Q]; WINDOW 0 means no window. Program (i, j, n) handles key/value head i, part j of the
    keys and the n-th ROWS // GROUP tokens, where GROUP is G rounded up to a power of two, and ROWS is GROUP or the
    least that `tl.dot` takes. Scratch, float32: parts [K, N, SPLITS, ROWS, D] and stats [K, N, SPLITS, 2, ROWS] for N
    programs along the last axis; arrived int32 [K, N], zero before and after.
    """
    G: tl.constexpr = Q // K
    head, split = tl.program_id(0), tl.program_id(1)
    row, dim = tl.arange(0, ROWS), tl.arange(0, D)
    first_token = tl.program_id(2) * (ROWS // GROUP)
    token, inner = first_token + row // GROUP, row % GROUP
    real = (token < TOKENS) & (inner < G)
    kind = query.dtype.element_ty
    place = ((token * Q + head * G + inner) * D)[:, None] + dim[None, :]
    first_query = tl.load(position, cache_modifier=".cg")
    sink = tl.load(sinks + head * G + inner, mask=inner < G, other=0.0).to(tl.float32)
    follow(OVERLAP)
    q = tl.load(query + place, mask=real[:, None], other=0.0)
    where = first_query + token
    end = first_query + TOKENS
    begin = tl.maximum(first_query + first_token + 1 - WINDOW, 0) if WINDOW else end * 0
    block = begin // BLOCK
    start = (block + (split - block % SPLITS + SPLITS) % SPLITS) * BLOCK
    stop = tl.minimum(first_query + first_token + ROWS // GROUP, end)
    top = tl.full((ROWS,), -1e30, tl.float32)
    mass = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, D), tl.float32)
    for first in tl.range(start, stop, SPLITS * BLOCK):
        keys, values = keys_and_values(table, first, head, end, kind, D, SLOTS, SEGMENTS, BLOCK)
        seen = first + tl.arange(0, BLOCK)
        visible = seen[None, :] <= where[:, None]
        if WINDOW:
            visible &= seen[None, :] > where[:, None] - WINDOW
        scores = tl.dot(q, tl.trans(keys), input_precision="ieee") * (scale * LOG2_E)
        scores = tl.where(visible, scores, float("-inf"))
        top, mass, acc = take_in(scores, values, top, mass, acc, kind)
    group = head * tl.num_programs(2) + tl.program_id(2)
    mine = group * SPLITS + split
    if SPLITS == 1:
        write_mixed(out, acc, top, mass, sink, place, real)
    else:
        tl.store(parts + (mine * ROWS + row)[:, None] * D + dim[None, :], acc)
        tl.store(stats + mine * 2 * ROWS + row, top)
        tl.store(stats + (mine * 2 + 1) * ROWS + row, mass)
        tl.debug_barrier()
        if tl.atomic_add(arrived + group, 1, sem="acq_rel") == SPLITS - 1:
            top = tl.full((ROWS,), -1e30, tl.float32)
            mass = tl.zeros((ROWS,), tl.float32)
            acc = tl.zeros((ROWS, D), tl.float32)
            for other in tl.range(0, SPLITS):
                at = group * SPLITS + other
                part_top = tl.load(stats + at * 2 * ROWS + row, cache_modifier=".cg")
                part_mass = tl.load(stats + (at * 2 + 1) * ROWS + row, cache_modifier=".cg")
                part = tl.load(parts + (at * ROWS + row)[:, None] * D + dim[None, :], cache_modifier=".cg")
                new_top = tl.maximum(top, part_top)
                shrink, grow = tl.exp2(top - new_top), tl.exp2(part_top - new_top)
                acc = acc * shrink[:, None] + part * grow[:, None]
                mass = mass * shrink + part_mass * grow
                top = new_top
            write_mixed(out, acc, top, mass, sink, place, real)
            tl.store(arrived + group, 0)


@triton.jit
def write_mixed(out, acc, top, mass, sink, place, real):
    """Divide by the mass, including that of the sink, and write the rows for which `real` is true."""
    sink *= LOG2_E
    highest = tl.maximum(top, sink)
    share = tl.exp2(top - highest) / (mass * tl.exp2(top - highest) + tl.exp2(sink - highest))
    tl.store(out + place, (acc * share[:, None]).to(out.dtype.element_ty), mask=real[:, None])
