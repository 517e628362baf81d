"""Drafts by prompt lookup: what followed the last time that the newest tokens stood in the sequence.

An agent that edits files writes again what it read. A draft costs a search; the next step runs the drafted tokens
beside the newest one and keeps those that it would have drawn anyway (see `choose_kernel` in unembed.py).
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.unembed import state_behind

MATCH = tl.constexpr(3)
"""Tokens that must have stood there before."""

LONGER = tl.constexpr(4)
"""Further tokens before them that make a place better than a later one, if they are the same too."""

RANK = tl.constexpr(1 << 20)
"""More than there are positions: a place's worth is its further tokens, then how late it is."""


@triton.jit
def draft_kernel(
    history, position, embedding, x, at, starts, text, ids, following, drafts, count, found, arrived,
    H: tl.constexpr, H2: tl.constexpr, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Drafts for the tokens after the newest one, which is history int32 [position].

    Out: drafts int32 [TOKENS - 1]; count int32 [1], the newest token included; their embeddings in x [1:TOKENS] and
    the automaton's states behind each in at [1:TOKENS]. (A draft that it forbids is not drawn, and what stands behind
    it does not matter.) Program i looks at every PROGRAMS-th block of positions; the last one to end makes the drafts.
    found int64 [1] is 0 before and after, like arrived int32 [1].
    """
    newest = tl.load(position)
    best = tl.full((), 0, tl.int64)
    for first in tl.range(tl.program_id(0) * BLOCK, newest, PROGRAMS * BLOCK):
        end = first + tl.arange(0, BLOCK)  # where the last of the matching tokens would be
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
        place = tl.atomic_xchg(found, 0) % RANK  # one behind the match; 0: there is none
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
