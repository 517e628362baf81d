"""Drafts by prompt lookup: the tokens that followed an earlier occurrence of the newest tokens in the sequence.

An agent that edits files often repeats what it read. Drafts cost no more than a search; the next step runs the drafted
tokens together with the newest one, and keeps those that it would have drawn anyway (see `choose_kernel` in
unembed.py).
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.unembed import state_behind

MATCH = tl.constexpr(3)
"""How many of the newest tokens must have occurred before."""

LONGER = tl.constexpr(4)
"""How many tokens before those are compared too: a longer match is preferred to a later one."""

RANK = tl.constexpr(1 << 20)
"""More than there are positions: a match is ranked by its further tokens first, then by how late it is."""


@triton.jit
def draft_kernel(
    history, position, embedding, x, at, starts, text, ids, following, drafts, count, found, arrived,
    H: tl.constexpr, H2: tl.constexpr, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Look up drafts for the tokens after the newest one, which is history int32 [position].

    Out: drafts int32 [TOKENS - 1]; count int32 [1], which includes the newest token; the drafts' embeddings in
    x [1:TOKENS], and the automaton's state after each in at [1:TOKENS]. (A draft that the automaton forbids is never
    drawn, so whatever comes after it does not matter.) Program i searches every PROGRAMS-th block of positions; the
    last one to finish writes the drafts. found int64 [1] and arrived int32 [1] are 0 before and after.
    """
    newest = tl.load(position)
    best = tl.full((), 0, tl.int64)
    for first in tl.range(tl.program_id(0) * BLOCK, newest, PROGRAMS * BLOCK):
        end = first + tl.arange(0, BLOCK)  # position of the last matching token
        same = (end < newest) & (end >= MATCH - 1)
        worth = end.to(tl.int64) + 1
        for back in tl.static_range(MATCH + LONGER):
            wanted = tl.load(history + tl.maximum(newest - back, 0))
            same &= end >= back
            same &= tl.load(history + end - back, mask=same, other=-1) == wanted
            if back >= MATCH:
                worth += tl.where(same, RANK, 0)
            else:
                worth = tl.where(same, worth, 0)
        best = tl.maximum(best, tl.max(worth, 0))
    tl.atomic_max(found, best)
    if tl.atomic_add(arrived, 1, sem="acq_rel") == PROGRAMS - 1:
        place = tl.atomic_xchg(found, 0) % RANK  # the position after the match; 0: no match
        state = tl.load(at)
        drafted = tl.full((), 1, tl.int32)
        goes_on = place > 0
        k = tl.arange(0, H2)
        for n in tl.static_range(1, TOKENS):
            source = place + n - 1
            goes_on &= source <= newest
            if goes_on:
                token = tl.load(history + source)
                state = state_behind(token.to(tl.int64), state, starts, text, ids, following)
                tl.store(drafts + n - 1, token)
                tl.store(at + n, state)
                row = tl.load(embedding + token.to(tl.int64) * H + k, mask=k < H, other=0.0)
                tl.store(x + n * H + k, row.to(tl.float32), mask=k < H)
                drafted += 1
        tl.store(count, drafted)
        tl.store(arrived, 0)
