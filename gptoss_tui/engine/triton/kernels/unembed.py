"""The end of a step: logits, the choice of a token, and the embedding that the next step begins with.

Choosing by arg-max of `logit / temperature + Gumbel noise` is drawing from the softmax (Gumbel 1954), so one pass over
the vocabulary is enough when no filter is set. Each program leaves its best candidate and its part of the softmax's
sum; one program ends it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.gemv import normed_rows


@triton.jit
def logits_kernel(
    x, g, w, logits, H: tl.constexpr, V: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """logits float32 [V] = W [V, H] (rms_norm(x) * g)."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    mask = rows < V
    tl.store(logits + rows, normed_rows(w, rows, mask, x, g, H, EPS, ROWS, BLOCK), mask=mask)


@triton.jit
def allowed(token, at, starts, text, ids, FIRST_SPECIAL: tl.constexpr):
    """Which of `token` [N] may come next in state `at` of an automaton; -1 restricts nothing.

    The ids that lead on from state s are ids[starts[s]:starts[s + 1]] int32; text uint8 [states]: all text may come.
    """
    listed = token < 0
    free = at < 0
    if at >= 0:
        free = tl.load(text + at) != 0
        for edge in tl.range(tl.load(starts + at), tl.load(starts + at + 1)):
            listed |= token == tl.load(ids + edge)
    return listed | (free & ((token < FIRST_SPECIAL) | (at < 0)))


@triton.jit
def state_behind(chosen, at, starts, text, ids, following):
    """The state that `chosen` leads to from `at`; -1 when nothing is restricted there."""
    behind = tl.full((), -1, tl.int64)
    if at >= 0:
        if tl.load(text + at) != 0:
            behind = at
        for edge in tl.range(tl.load(starts + at), tl.load(starts + at + 1)):
            if chosen == tl.load(ids + edge):
                behind = tl.load(following + edge).to(tl.int64)
    if behind >= 0:
        if (tl.load(text + behind) == 0) & (tl.load(starts + behind) == tl.load(starts + behind + 1)):
            behind = tl.full((), -1, tl.int64)
    return behind


@triton.jit
def candidates_kernel(
    logits, bias, temperature, seed, step, at, starts, text, ids, best, place, top, mass,
    V: tl.constexpr, FIRST_SPECIAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The best candidate and the softmax's part of each block of BLOCK logits.

    bias float32 [V] is added for the choice only (-inf forbids); temperature float32 [1], 0 is arg-max; seed int64 [1];
    step int64 [1] makes each token's noise its own; at int64 [1] is the state of an automaton (see `allowed`). Out, one
    a program: best float32 and place int32 of the candidate, top float32 and mass float32 of the raw logits.
    """
    program = tl.program_id(0)
    token = program * BLOCK + tl.arange(0, BLOCK)
    inside = token < V
    raw = tl.load(logits + token, mask=inside, other=float("-inf"))
    score = raw + tl.load(bias + token, mask=inside, other=float("-inf"))
    score = tl.where(allowed(token, tl.load(at), starts, text, ids, FIRST_SPECIAL), score, float("-inf"))
    heat = tl.load(temperature)
    if heat > 0:
        # Four numbers a counter; the step is in the seed's place, so that no two steps share one.
        uniform = tl.rand(tl.load(seed) + tl.load(step) * 0x1E3779B97F4A7C15, token)
        score = score / heat - tl.log(-tl.log(tl.maximum(uniform, 1e-30)))
    value, index = tl.max(score, 0, return_indices=True)
    highest = tl.max(raw, 0)
    tl.store(best + program, value)
    tl.store(place + program, program * BLOCK + index)
    tl.store(top + program, highest)
    tl.store(mass + program, tl.sum(tl.exp(raw - highest), 0))


@triton.jit
def choose_kernel(
    logits, best, place, top, mass, embedding, x, position, step, at, starts, text, ids, following,
    token, logprob, tokens, logprobs,
    H: tl.constexpr, PARTS: tl.constexpr, PARTS2: tl.constexpr, RING: tl.constexpr, H2: tl.constexpr,
):  # fmt: skip
    """One program: token int64 [1] and its raw logprob [1]; x = its embedding; position, step and automaton go on.

    The choice is also left in tokens and logprobs [RING] at step % RING, where the host picks it up later.
    """
    part = tl.arange(0, PARTS2)
    real = part < PARTS
    _, winner = tl.max(tl.load(best + part, mask=real, other=float("-inf")), 0, return_indices=True)
    chosen = tl.load(place + winner).to(tl.int64)
    tops = tl.load(top + part, mask=real, other=float("-inf"))
    highest = tl.max(tops, 0)
    total = tl.sum(tl.load(mass + part, mask=real, other=0.0) * tl.exp(tops - highest), 0)
    value = tl.load(logits + chosen) - highest - tl.log(total)
    tl.store(at, state_behind(chosen, tl.load(at), starts, text, ids, following))
    now = tl.load(step)
    tl.store(token, chosen)
    tl.store(logprob, value)
    tl.store(tokens + now % RING, chosen)
    tl.store(logprobs + now % RING, value)
    tl.store(step, now + 1)
    tl.store(position, tl.load(position) + 1)
    k = tl.arange(0, H2)
    row = tl.load(embedding + chosen * H + k, mask=k < H, other=0.0)
    tl.store(x + k, row.to(tl.float32), mask=k < H)
