"""Chooses the experts for a few tokens. E is the number of experts, H the hidden size; TOKENS as in gemv.py.

The experts that any token chose are listed in ascending order, not by preference. So the experts of a token are added
up in the same order whether it runs alone or with others.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.overlap import follow


@triton.jit
def routes(scores, count, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, TOKENS: tl.constexpr):
    """Which experts are among each token's TOP best, and their shares, float32: both [TOKENS, EP].

    The shares are a softmax over the chosen experts. scores float32 [TOKENS, E]; EP is E rounded up to a power of two;
    tokens from `count` on choose nothing. A NaN score is always chosen and makes the shares NaN, so that it shows in
    the logits.
    """
    expert, token = tl.arange(0, EP)[None, :], tl.arange(0, TOKENS)[:, None]
    score = tl.load(scores + token * E + expert, mask=expert < E, other=float("-inf"), cache_modifier=".cg")
    left = tl.where(score == score, score, 3e38)
    highest = tl.max(score, 1)
    # Added up one by one, best first: the order of a sum over the tile would depend on its layout, and so on TOKENS.
    total = tl.zeros((TOKENS,), tl.float32)
    for _ in tl.static_range(TOP):
        total += tl.exp(tl.max(left, 1) - highest)
        best = tl.argmax(left, 1)
        left = tl.where(expert == best[:, None], float("-inf"), left)
    chosen = (left == float("-inf")) & (expert < E) & (token < count)
    return chosen, tl.where(chosen, tl.exp(score - highest[:, None]) / total[:, None], 0.0)


@triton.jit
def router_kernel(
    x, g, w, b, count, scores, t, experts, shares, chosen, arrived,
    H: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr,
    TOKENS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """t [TOKENS, H] = rms_norm(x) * g, and the experts that the tokens choose by the scores W [E, H] t + b.

    Out: `chosen` int32 [1], how many experts were chosen; experts int32 [places], in ascending order; shares float32
    [places, TOKENS], 0 where a token did not choose the expert. Program (i, n) computes score i of token n, and a slice
    of t, so that the experts' programs need not compute t again and again. The last program to finish chooses the
    experts. Scratch: scores float32 [TOKENS, E]; arrived int32 [1], zero before and after.
    """
    expert, token = tl.program_id(0), tl.program_id(1)
    weights = ()
    gains = ()
    for start in tl.static_range(0, H, BLOCK):
        k = start + tl.arange(0, BLOCK)
        weights = weights + (tl.load(w + expert * H + k, mask=k < H, other=0.0),)
        gains = gains + (tl.load(g + k, mask=k < H, other=0.0),)
    bias = tl.load(b + expert)
    follow(OVERLAP)
    acc = tl.zeros((BLOCK,), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for n in tl.static_range((H + BLOCK - 1) // BLOCK):
        k = n * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(x + token * H + k, mask=k < H, other=0.0)
        acc += weights[n].to(tl.float32) * value * gains[n]
        squares += value * value
    inverse = tl.rsqrt(tl.sum(squares, 0) / H + EPS)
    tl.store(scores + token * E + expert, tl.sum(acc, 0) * inverse + bias)
    share = (H + E - 1) // E
    for start in tl.range(0, share, BLOCK):
        k = expert * share + start + tl.arange(0, BLOCK)
        mine = (k < H) & (k < (expert + 1) * share)
        value = tl.load(x + token * H + k, mask=mine, other=0.0) * tl.load(g + k, mask=mine, other=0.0) * inverse
        tl.store(t + token * H + k, value.to(t.dtype.element_ty), mask=mine)
    tl.debug_barrier()
    if tl.atomic_add(arrived, 1, sem="acq_rel") == E * TOKENS - 1:
        theirs, every = routes(scores, tl.load(count), E, EP, TOP, TOKENS)
        used = tl.max(theirs.to(tl.int32), 0) > 0
        place = tl.cumsum(used.to(tl.int32), 0) - 1
        row = tl.arange(0, TOKENS)[:, None]
        tl.store(experts + place, tl.arange(0, EP), mask=used)
        tl.store(shares + place[None, :] * TOKENS + row, every, mask=used[None, :] & (row < TOKENS))
        tl.store(chosen, tl.sum(used.to(tl.int32), 0))
        tl.store(arrived, 0)
