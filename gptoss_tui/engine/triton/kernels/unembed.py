"""The end of a step: logits, the choice of a token, and the embedding that the next step begins with.

Taking the arg-max of `logit / temperature + Gumbel noise` draws from the softmax (Gumbel 1954), so one pass over the
vocabulary is enough when no filter is set. Each program writes its best candidate and its part of the softmax's sum;
then a single program combines them.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.gemv import row_blocks, rows_times
from gptoss_tui.engine.triton.kernels.norm import inverse_rms
from gptoss_tui.engine.triton.kernels.overlap import follow

LEAST = tl.constexpr(2.0**-32)
"""Half the step between the uniform numbers of `tl.rand`; takes the place of 0."""


@triton.jit
def logits_kernel(
    scaled, squares, w, logits,
    H: tl.constexpr, V: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """logits float32 [TOKENS, V] = W [V, H] rms_norm(x); `scaled` [TOKENS, H] and `squares` as in norm.py."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    mask = rows < V
    blocks = row_blocks(w, rows, mask, H, BLOCK)
    follow(OVERLAP)
    outs = rows_times(blocks, scaled, H, ROWS, BLOCK, TOKENS)
    for n in tl.static_range(TOKENS):
        tl.store(logits + n * V + rows, outs[n] * inverse_rms(squares, n, H, EPS), mask=mask)


@triton.jit
def allowed(token, at, starts, text, ids, FIRST_SPECIAL: tl.constexpr):
    """Which of `token` [N] are allowed next in state `at` of an automaton; state -1 allows all.

    The ids on the edges from state s are ids[starts[s]:starts[s + 1]] int32; text uint8 [states] is nonzero for states
    in which all text tokens are allowed too.
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
    """The state after token `chosen` in state `at`; -1 if nothing is restricted there."""
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
def gumbel(uniform):
    """Turn uniform numbers, float32 in [0, 1), into Gumbel noise: -log(e), where e = -log(1 - uniform) is exponential.

    The winners of a draw have the smallest e, so these must not tie. Float32 is finest near 0, so small e come from
    small `uniform`, and by a series: `1 - uniform` would round many tokens of a large vocabulary to the same number.
    """
    near = tl.maximum(uniform, LEAST)
    return -tl.log(tl.where(near < 1e-3, near + 0.5 * near * near, -tl.log(1.0 - near)))


@triton.jit
def candidates_kernel(
    logits, bias, temperature, seed, step, at, starts, text, ids, best, place, top, mass,
    V: tl.constexpr, FIRST_SPECIAL: tl.constexpr, BLOCK: tl.constexpr, PARTS: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """Find the best candidate in each block of BLOCK logits, and the block's part of the softmax, for each token.

    logits float32 [TOKENS, V]; bias float32 [V] is added for the choice only (-inf forbids a token); temperature
    float32 [1], where 0 means arg-max; seed int64 [1]; step int64 [1], that of the first token, gives each token its
    own noise; at int64 [TOKENS] are states of an automaton (see `allowed`). Out, [TOKENS, PARTS]: the candidate's score
    best float32 and its id place int32; the maximum top float32 of the raw logits, and mass float32, the sum of their
    exponentials relative to it. Program (i, n) handles block i of token n.
    """
    program, n = tl.program_id(0), tl.program_id(1)
    token = program * BLOCK + tl.arange(0, BLOCK)
    inside = token < V
    follow(OVERLAP)
    raw = tl.load(logits + n * V + token, mask=inside, other=float("-inf"))
    score = raw + tl.load(bias + token, mask=inside, other=float("-inf"))
    score = tl.where(allowed(token, tl.load(at + n), starts, text, ids, FIRST_SPECIAL), score, float("-inf"))
    heat = tl.load(temperature)
    if heat > 0:
        # The step changes the seed rather than the offset, so that no two steps share random numbers.
        uniform = tl.rand(tl.load(seed) + (tl.load(step) + n) * 0x1E3779B97F4A7C15, token)
        score = score / heat + gumbel(uniform)
    value, index = tl.max(score, 0, return_indices=True)
    highest = tl.max(raw, 0)
    out = n * PARTS + program
    tl.store(best + out, value)
    tl.store(place + out, program * BLOCK + index)
    tl.store(top + out, highest)
    tl.store(mass + out, tl.sum(tl.exp(raw - highest), 0))


@triton.jit
def choose_kernel(
    logits, best, place, top, mass, embedding, x, position, step, at, starts, text, ids, following,
    drafts, count, history, token, logprob, tokens, logprobs,
    H: tl.constexpr, V: tl.constexpr, PARTS: tl.constexpr, PARTS2: tl.constexpr, RING: tl.constexpr, H2: tl.constexpr,
    TOKENS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Choose the next tokens, up to the first that differs from its draft. Runs as a single program.

    Token n is drawn after the n-th input. It is kept if all drafts up to that input are the tokens drawn: drafts int32
    [n] must equal token n for the next one to count. The first `count` int32 [1] inputs are real. Position, step and
    the automaton advance by the kept tokens. Each is written to tokens and logprobs [RING] at step % RING, where the
    host reads it later, and to history int32 [context]; the last one also to token int64 [1] and logprob [1], and its
    embedding to x [0]. `count` becomes 1: there are no drafts now.
    """
    part = tl.arange(0, PARTS2)
    real = part < PARTS
    follow(OVERLAP)
    now = tl.load(step)
    where = tl.load(position)
    inputs = tl.load(count)
    state = tl.load(at)
    taken = tl.full((), 0, tl.int32)
    last = tl.full((), 0, tl.int64)
    holds = inputs > 0
    for n in tl.static_range(TOKENS):
        if holds:
            row = n * PARTS + part
            _, winner = tl.max(tl.load(best + row, mask=real, other=float("-inf")), 0, return_indices=True)
            last = tl.load(place + n * PARTS + winner).to(tl.int64)
            tops = tl.load(top + row, mask=real, other=float("-inf"))
            highest = tl.max(tops, 0)
            total = tl.sum(tl.load(mass + row, mask=real, other=0.0) * tl.exp(tops - highest), 0)
            value = tl.load(logits + n * V + last) - highest - tl.log(total)
            state = state_behind(last, state, starts, text, ids, following)
            tl.store(tokens + (now + n) % RING, last)
            tl.store(logprobs + (now + n) % RING, value)
            tl.store(logprob, value)
            tl.store(history + where + n + 1, last.to(tl.int32))
            taken += 1
            holds = (n + 1 < inputs) & (tl.load(drafts + n) == last)
    tl.store(at, state)
    tl.store(token, last)
    tl.store(count, 1)
    tl.store(step, now + taken)
    tl.store(position, where + taken)
    k = tl.arange(0, H2)
    embedded = tl.load(embedding + last * H + k, mask=k < H, other=0.0)
    tl.store(x + k, embedded.to(tl.float32), mask=k < H)
