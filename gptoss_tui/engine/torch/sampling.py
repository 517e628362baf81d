"""Choosing tokens from logits: pure functions on one row of float32 logits [vocabulary].

Nothing here sorts the vocabulary: arg-max, thresholds and one inverse-CDF draw are passes over it, and top-k and top-p
look only at as many of the largest values as they need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, zip_longest

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gptoss_tui.engine.constraint import TokenState
from gptoss_tui.engine.failures import not_finite, nothing_allowed
from gptoss_tui.engine.seeds import token_seed
from gptoss_tui.engine.types import LOWEST_TEMPERATURE, SamplingParams, ScoredPosition, Token
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, USED_SPECIAL_TOKENS

# How many of the largest values top-p looks at first; it multiplies this by eight until they hold enough mass.
_FIRST_NUCLEUS = 256

# Up to this many allowed tokens are gathered; with more, the others are masked.
_FEW = 4096

# Number of neighbouring weights that `draw` sums first: about the square root of the vocabulary.
_BLOCK = 512


@cache
def unused_ids(vocab_size: int, device: torch.device) -> Tensor:
    """Ids, int64, that neither text nor conversations use; empty for the small vocabularies of test models."""
    unused = set(range(NUM_TEXT_TOKENS, vocab_size)) - set(USED_SPECIAL_TOKENS)
    return torch.tensor(sorted(unused), dtype=torch.int64, device=device)


def new_generator(seed: int | None, device: torch.device) -> torch.Generator:
    """A random generator for one request. Equal seeds draw equal tokens; with None, each request draws others."""
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
    else:
        # torch takes 64 bits; Python seeds may be negative or longer.
        generator.manual_seed(seed & 0xFFFF_FFFF_FFFF_FFFF)
    return generator


def set_seed(generator: torch.Generator, params: SamplingParams, count: int) -> None:
    """Prepare the generator for token `count` of a generation. Without a seed it just continues."""
    if params.seed is not None:
        generator.manual_seed(token_seed(params.seed, params.drawn + count))


def sample(
    logits: Tensor, params: SamplingParams, generator: torch.Generator, state: TokenState | None = None
) -> Token:
    """Choose a token. `logprob` and `top` come from the log-softmax of the raw `logits`, before any filter.

    `state` restricts the choice to what may come next. Raises EngineError if the logits contain NaN or infinity.
    """
    total = float(torch.logsumexp(logits, dim=0))
    if not math.isfinite(total):
        raise not_finite()
    token = choose(logits, params, generator) if state is None else _choose_in(state, logits, params, generator)
    return Token(token, float(logits[token]) - total, top_alternatives(logits - total, params.top_logprobs))


def top_alternatives(logprobs: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` most likely pairs (id, logprob), best first."""
    if count == 0:
        return ()
    values, ids = logprobs.topk(min(count, logprobs.shape[0]))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))


def score_states(
    states: Tensor, logits: Callable[[Tensor], Tensor], following: Sequence[int], top: int, rows: int
) -> Iterator[ScoredPosition]:
    """Yield the prediction after each of `states` [T, H]; `logits` turns up to `rows` of them into float32 [P, V].

    `following` are the ids after these states; at the end of the input there is one fewer.
    """
    parts = (torch.log_softmax(logits(part), dim=-1) for part in torch.split(states, rows))
    for logprobs, after in zip_longest(chain.from_iterable(parts), following):
        value = None if after is None else float(logprobs[after])
        yield ScoredPosition(after, value, top_alternatives(logprobs, top))


def _choose_in(state: TokenState, logits: Tensor, params: SamplingParams, generator: torch.Generator) -> int:
    """Like `choose`, among the tokens that the state allows."""
    if state.mask is not None:
        return _choose_by_mask(state.mask, state, logits, params, generator)
    if state.text:
        forbidden = [token for token in USED_SPECIAL_TOKENS if token not in state.following]
        likeliest = int(logits.argmax())
        if params.temperature == 0.0 and not params.logit_bias and likeliest < NUM_TEXT_TOKENS:
            return likeliest
        ids = torch.tensor([token for token in forbidden if token < logits.shape[0]], device=logits.device)
        return choose(logits.index_fill(0, ids.long(), -math.inf), params, generator)
    return _choose_among(sorted(state.following), logits, params, generator)


def _choose_by_mask(
    mask: bytes, state: TokenState, logits: Tensor, params: SamplingParams, generator: torch.Generator
) -> int:
    """Like `choose`, among the ids whose bit is set in the mask and those in `state.following`."""
    if params.temperature == 0.0 and not params.logit_bias:
        likeliest = int(logits.argmax())
        if state.allows(likeliest):
            return likeliest
    bits = np.unpackbits(np.frombuffer(mask, dtype=np.uint8), bitorder="little")[: logits.shape[0]]
    if int(np.count_nonzero(bits)) <= _FEW:
        return _choose_among(sorted({*np.flatnonzero(bits).tolist(), *state.following}), logits, params, generator)
    allowed = torch.zeros(logits.shape[0], dtype=torch.bool)
    allowed[: len(bits)] = torch.from_numpy(bits).bool()
    allowed[[token for token in state.following if token < logits.shape[0]]] = True
    return choose(logits.masked_fill(~allowed.to(logits.device), -math.inf), params, generator)


def _choose_among(allowed: list[int], logits: Tensor, params: SamplingParams, generator: torch.Generator) -> int:
    """Like `choose`, among a few ids."""
    if len(allowed) == 1:
        return allowed[0]
    if not allowed:
        raise nothing_allowed()
    bias = {n: params.logit_bias[token] for n, token in enumerate(allowed) if token in params.logit_bias}
    few = replace(params, logit_bias=bias)
    return allowed[choose(logits[torch.tensor(allowed, device=logits.device)], few, generator)]


def choose(logits: Tensor, params: SamplingParams, generator: torch.Generator) -> int:
    """The id determined by the parameters and the generator's next number; never one of `unused_ids`."""
    if params.temperature == 0.0 and not params.logit_bias:
        likeliest = int(logits.argmax())
        if likeliest < NUM_TEXT_TOKENS or likeliest in USED_SPECIAL_TOKENS:
            return likeliest  # nearly always; the general path would copy the vocabulary for this
    scores = logits.index_fill(0, unused_ids(logits.shape[0], logits.device), -math.inf)
    add_bias(scores, params.logit_bias)
    if params.temperature == 0.0:
        return int(scores.argmax())
    # Relative to the maximum and never divided by zero, so that no temperature causes an overflow.
    scores = (scores - scores.max()) / max(params.temperature, LOWEST_TEMPERATURE)
    if 0 < params.top_k < scores.shape[0]:
        scores, ids = scores.topk(params.top_k)
    else:
        ids = None
    weights = scores.exp()
    if params.top_p < 1.0:
        weights = keep_nucleus(weights, params.top_p)
    if params.min_p > 0.0:
        weights = weights.where(weights >= params.min_p * weights.max(), 0.0)
    drawn = draw(weights, generator)
    return drawn if ids is None else int(ids[drawn])


def keep_nucleus(weights: Tensor, top_p: float) -> Tensor:
    """Keep the fewest largest of `weights` that together hold `top_p` of the sum; set all others to 0."""
    wanted = top_p * float(weights.sum(dtype=torch.float64))
    size = weights.shape[0]
    count = min(_FIRST_NUCLEUS, size)
    while True:
        largest, ids = weights.topk(count)
        mass = largest.cumsum(0, dtype=torch.float64)
        if count == size or float(mass[-1]) >= wanted:
            break
        count = min(8 * count, size)
    kept = int(torch.searchsorted(mass, wanted)) + 1
    return torch.zeros_like(weights).scatter_(0, ids[:kept], largest[:kept])


def draw(weights: Tensor, generator: torch.Generator) -> int:
    """Draw an index with probability proportional to its weight, using one uniform number; never one of weight 0.

    Finds a block first and then the index in it: a running sum of the whole vocabulary would take longer than a layer.
    """
    blocks = F.pad(weights, (0, -weights.shape[0] % _BLOCK)).view(-1, _BLOCK)
    mass = blocks.sum(1, dtype=torch.float64).cumsum(0)
    uniform = float(torch.rand((), dtype=torch.float64, generator=generator, device=weights.device))
    block, rest = _find(mass, uniform * float(mass[-1]))
    index, _ = _find(blocks[block].cumsum(0, dtype=torch.float64), rest)
    return block * _BLOCK + index


def _find(mass: Tensor, point: float) -> tuple[int, float]:
    """The first index whose running sum is above `point`, and the distance of the point from the sum before it."""
    # Rounding could bring the point to the total itself, beyond the last index.
    point = min(point, math.nextafter(float(mass[-1]), 0.0))
    index = int(torch.searchsorted(mass, point, right=True))
    return index, point - (float(mass[index - 1]) if index else 0.0)


def add_bias(scores: Tensor, biases: Mapping[int, float]) -> None:
    """Add a request's biases to float32 scores [V], in place."""
    if not biases:
        return
    ids = torch.tensor(list(biases), device=scores.device)
    scores[ids] += torch.tensor(list(biases.values()), dtype=scores.dtype, device=scores.device)
