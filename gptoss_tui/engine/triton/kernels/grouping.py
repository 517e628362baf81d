"""Chooses the experts of many tokens, and sorts the choices by expert for grouped.py.

This is a counting sort in two launches. The first counts the choices in each block of tokens; in the second, each
program adds up the counts before its block, and ranks the choices within it. E is the number of experts, EP is E
rounded up to a power of two, TOP the experts per token. The kernels are not specialized on the number of tokens: it
differs for each prompt, and none should wait for the compiler.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["tokens"])
def pick_kernel(
    scores, chosen, weights, counts, tokens,
    E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, BT: tl.constexpr,
):  # fmt: skip
    """Find the TOP best experts of each token, and count how many of a block's tokens chose each expert.

    scores [tokens, E]. Out: chosen int32 [tokens, TOP], best first; weights float32 [tokens, TOP], the softmax of their
    scores; counts int32 [blocks, EP]. Program i handles tokens BT * i to BT * (i + 1).
    """
    token, expert = tl.program_id(0) * BT + tl.arange(0, BT), tl.arange(0, EP)[None, :]
    there = token < tokens
    place = scores + token[:, None] * E + expert
    left = tl.load(place, mask=there[:, None] & (expert < E), other=float("-inf")).to(tl.float32)
    highest = tl.max(left, 1)
    grown = ()
    total = tl.zeros((BT,), tl.float32)
    count = tl.zeros((EP,), tl.int32)
    for n in tl.static_range(TOP):
        which = tl.argmax(left, 1)
        part = tl.exp(tl.max(left, 1) - highest)
        grown = grown + (part,)
        total += part
        mine = expert == which[:, None]
        count += tl.sum((mine & there[:, None]).to(tl.int32), 0)
        left = tl.where(mine, float("-inf"), left)
        tl.store(chosen + token * TOP + n, which, mask=there)
    for n in tl.static_range(TOP):
        tl.store(weights + token * TOP + n, grown[n] / total, mask=there)
    tl.store(counts + tl.program_id(0) * EP + tl.arange(0, EP), count)


@triton.jit(do_not_specialize=["choices", "blocks"])
def sort_kernel(
    chosen, counts, order, ends, choices, blocks,
    E: tl.constexpr, EP: tl.constexpr, SIZE: tl.constexpr, N: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Sort the choices by expert. The sort is stable.

    chosen int32 [choices] and counts int32 [blocks, EP] as above. Out: order int32 [choices], which choice each sorted
    row is; ends int32 [E], the end of each expert's rows. Program i handles choices SIZE * i to SIZE * (i + 1); N is
    SIZE rounded up to a power of two.
    """
    block, expert = tl.program_id(0), tl.arange(0, EP)
    before = tl.zeros((EP,), tl.int32)
    total = tl.zeros((EP,), tl.int32)
    for first in tl.range(0, blocks, TILE):
        row = first + tl.arange(0, TILE)[:, None]
        part = tl.load(counts + row * EP + expert[None, :], mask=row < blocks, other=0)
        total += tl.sum(part, 0)
        before += tl.sum(tl.where(row < block, part, 0), 0)
    end = tl.cumsum(total, 0)
    if block == 0:
        tl.store(ends + expert, end, mask=expert < E)
    start = end - total + before
    n = tl.arange(0, N)
    choice = block * SIZE + n
    there = (n < SIZE) & (choice < choices)
    mine = tl.load(chosen + choice, mask=there, other=EP)
    rank = tl.sum(((mine[:, None] == mine[None, :]) & (n[None, :] < n[:, None])).to(tl.int32), 1)
    base = tl.sum(tl.where(mine[:, None] == expert[None, :], start[None, :], 0), 1)
    tl.store(order + base + rank, choice, mask=there)
