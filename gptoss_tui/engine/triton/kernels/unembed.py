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
def candidates_kernel(
    logits, bias, temperature, seed, step, best, place, top, mass, V: tl.constexpr, BLOCK: tl.constexpr
):
    """The best candidate and the softmax's part of each block of BLOCK logits.

    bias float32 [V] is added for the choice only (-inf forbids); temperature float32 [1], 0 is arg-max; seed int64 [1];
    step int64 [1] makes each token's noise its own. Out, one a program: best float32 and place int32 of the candidate,
    top float32 and mass float32 of the raw logits.
    """
    program = tl.program_id(0)
    token = program * BLOCK + tl.arange(0, BLOCK)
    inside = token < V
    raw = tl.load(logits + token, mask=inside, other=float("-inf"))
    score = raw + tl.load(bias + token, mask=inside, other=float("-inf"))
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
    logits, best, place, top, mass, embedding, x, position, step, token, logprob, tokens, logprobs,
    H: tl.constexpr, PARTS: tl.constexpr, PARTS2: tl.constexpr, RING: tl.constexpr, H2: tl.constexpr,
):  # fmt: skip
    """One program: token int64 [1] and its raw logprob [1]; x = its embedding; position and step go on by one.

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
