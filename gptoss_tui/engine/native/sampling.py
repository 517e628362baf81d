"""Chooses tokens from logits without torch, by the same rules as `torch/sampling.py` does with torch.

Most tokens are chosen in the native library, from the distinct rows of the unembedding; it reads only as much as it
needs. Requests with filters, biases, masks or alternatives are handled here, with the logits of all ids.
"""

from __future__ import annotations

import ctypes
import math
import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.constraint import TokenState
from gptoss_tui.engine.failures import not_finite, nothing_allowed, out_of_memory
from gptoss_tui.engine.native.library import GROUP, OUTSIDE, Draw, load_library
from gptoss_tui.engine.seeds import token_seed
from gptoss_tui.engine.types import LOWEST_TEMPERATURE, SamplingParams, ScoredPosition, Token
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, USED_SPECIAL_TOKENS

Logits = npt.NDArray[np.float32]


def set_seed(generator: random.Random, params: SamplingParams, count: int) -> None:
    """Seed `generator` for token `count` of a generation, so that a seed always gives the same tokens.

    Without a seed, the generator just continues.
    """
    if params.seed is not None:
        generator.seed(token_seed(params.seed, params.drawn + count))


@dataclass(frozen=True, slots=True)
class Bias:
    """The `logit_bias` of a request as arrays: `values` are added to the logits of `ids`."""

    ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def bias_of(params: SamplingParams) -> Bias:
    """The bias of a request, made once for all its tokens."""
    ids = np.fromiter(params.logit_bias, dtype=np.int64, count=len(params.logit_bias))
    return Bias(ids, np.fromiter(params.logit_bias.values(), dtype=np.float64, count=len(ids)))


class Sampler:
    """Chooses among the ids of a vocabulary in which ids may share rows: `rows` int32 [V] is the row of each id."""

    def __init__(self, rows: npt.NDArray[np.int32]) -> None:
        self.rows = rows
        distinct = int(rows.max()) + 1
        usable = np.ones(len(rows), dtype=bool)
        usable[NUM_TEXT_TOKENS:] = False
        usable[[token for token in USED_SPECIAL_TOKENS if token < len(rows)]] = True
        self._unusable = np.flatnonzero(~usable)
        # Read by the library: how many ids each row has, and how many of them may be sampled; padded to whole groups.
        padding = -distinct % GROUP
        self.counts = np.bincount(rows, minlength=distinct + padding).astype(np.float32)
        self.used = np.bincount(rows[usable], minlength=distinct + padding).astype(np.float32)
        ids = np.flatnonzero(usable)
        self._ids = ids[np.argsort(rows[ids], kind="stable")]  # by row, then by id
        self._first = np.concatenate(([0], np.cumsum(self.used, dtype=np.int64)))
        self._specials = [token for token in USED_SPECIAL_TOKENS if token < len(rows)]
        # If a special token shares its row with other ids, the row cannot be forbidden as a whole.
        self._specials_are_alone = all(self.used[rows[token]] == 1 for token in self._specials)

    def sample(
        self,
        model: int,
        index: int,
        params: SamplingParams,
        generator: random.Random,
        state: TokenState | None,
        bias: Bias,
    ) -> Token:
        """Choose the token after token `index` of the last run of `model`; `bias` is that of `params`.

        `logprob` and `top` come from the log-softmax of the raw logits, before any filter. `state` restricts the choice
        to the tokens allowed next. Raises EngineError if the logits are not finite.
        """
        if self._is_plain(params, state):
            forbidden = [] if state is None else [token for token in self._specials if token not in state.following]
            drawn = self._drawn(model, index, params, generator, forbidden)
            # If it is not allowed, draw again, among the allowed ones only: their relative odds stay the same.
            if state is None or state.mask is None or state.allows(drawn.id):
                return drawn
        whole = read_logits(model, index, len(self.used))[self.rows]
        total = float(load_library().gt_log_total(model))
        if not math.isfinite(total):
            raise not_finite()
        token = choose_in(state, whole, params, generator, self._unusable, bias)
        return Token(
            token, float(whole[token]) - total, top_alternatives(whole - np.float32(total), params.top_logprobs)
        )

    def _is_plain(self, params: SamplingParams, state: TokenState | None) -> bool:
        """Whether the library can choose: no filter, no bias, no alternatives, and all or most text is allowed."""
        if params.top_p < 1.0 or params.top_k or params.min_p > 0.0 or params.logit_bias or params.top_logprobs:
            return False
        return state is None or (state.text and self._specials_are_alone)

    def _drawn(
        self, model: int, index: int, params: SamplingParams, generator: random.Random, forbidden: list[int]
    ) -> Token:
        rows = self.rows[forbidden].astype(np.int32) if forbidden else np.empty(0, dtype=np.int32)
        draw = Draw(
            temperature=params.temperature,
            uniform=generator.random() if params.temperature > 0.0 else 0.0,
            forbidden=rows.ctypes.data,
            forbidden_count=len(rows),
        )
        result = load_library().gt_choose(model, index, ctypes.byref(draw))
        if result == OUTSIDE:
            raise ValueError(f"token {index} was not run, or rows {rows.tolist()} are not among {len(self.used)}")
        if result < 0:
            raise out_of_memory()
        if draw.row < 0:
            raise not_finite()
        first, end = self._first[draw.row], self._first[draw.row + 1]
        token = int(self._ids[first + int(draw.within * (end - first))])
        return Token(token, draw.logit - draw.log_total)


def read_logits(model: int, index: int, rows: int) -> Logits:
    """Logits of the unembedding's distinct rows for token `index` of the last run, valid until the next call."""
    return np.ctypeslib.as_array(load_library().gt_logits(model, index), (rows,))


def top_alternatives(logprobs: Logits, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` most likely tokens as (id, logprob), best first."""
    if count == 0:
        return ()
    count = min(count, len(logprobs))
    best = np.argpartition(-logprobs, count - 1)[:count]
    best = best[np.lexsort((best, -logprobs[best]))]
    return tuple((int(token), float(logprobs[token])) for token in best)


def score_row(logits: Logits, total: float, following: int | None, top: int) -> ScoredPosition:
    """The score of one position from the `logits` of all ids and `total`, their log-sum-exp."""
    logprobs = logits - np.float32(total)
    value = None if following is None else float(logprobs[following])
    return ScoredPosition(following, value, top_alternatives(logprobs, top))


def choose_in(
    state: TokenState | None,
    logits: Logits,
    params: SamplingParams,
    generator: random.Random,
    unusable: npt.NDArray[np.int64],
    bias: Bias,
) -> int:
    """Choose an id that the state allows, by the parameters and the generator's next number."""
    if state is not None and not state.text:
        return _choose_among(np.array(sorted(state.following), dtype=np.int64), logits, params, generator, bias)
    allowed = np.ones(len(logits), dtype=bool)
    if state is not None and state.mask is not None:
        bits = np.unpackbits(np.frombuffer(state.mask, dtype=np.uint8), bitorder="little")[: len(logits)]
        allowed[:] = False
        allowed[: len(bits)] = bits
        allowed[[token for token in state.following if token < len(logits)]] = True
    elif state is not None:
        allowed[[token for token in USED_SPECIAL_TOKENS if token not in state.following and token < len(logits)]] = (
            False
        )
    allowed[unusable] = False
    return _choose_among(np.flatnonzero(allowed), logits, params, generator, bias)


def _choose_among(
    ids: npt.NDArray[np.int64], logits: Logits, params: SamplingParams, generator: random.Random, bias: Bias
) -> int:
    if len(ids) == 0:
        raise nothing_allowed()
    if len(ids) == 1:
        return int(ids[0])
    scores = logits[ids].astype(np.float64)
    places = np.searchsorted(ids, bias.ids)  # ids are sorted
    found = ids[np.minimum(places, len(ids) - 1)] == bias.ids
    scores[places[found]] += bias.values[found]
    return int(ids[choose(scores, params, generator)])


def choose(scores: npt.NDArray[np.float64], params: SamplingParams, generator: random.Random) -> int:
    """Draw an index of `scores`: apply temperature, top-k, top-p and min-p in this order, then use a uniform number."""
    if params.temperature == 0.0:
        return int(scores.argmax())
    # Subtract the largest first, and never divide by zero, so that no temperature makes the scores overflow.
    scores = (scores - scores.max()) / max(params.temperature, LOWEST_TEMPERATURE)
    places = None
    if 0 < params.top_k < len(scores):
        places = np.argpartition(-scores, params.top_k - 1)[: params.top_k]
        scores = scores[places]
    weights = np.exp(scores)
    if params.top_p < 1.0:
        order = np.argsort(-weights, kind="stable")
        mass = np.cumsum(weights[order])
        kept = int(np.searchsorted(mass, params.top_p * mass[-1])) + 1
        weights[order[kept:]] = 0.0
    if params.min_p > 0.0:
        weights[weights < params.min_p * weights.max()] = 0.0
    mass = np.cumsum(weights)
    # Rounding could move the point to the total itself, which is past the last index.
    point = min(generator.random() * mass[-1], math.nextafter(mass[-1], 0.0))
    drawn = int(np.searchsorted(mass, point, side="right"))
    return drawn if places is None else int(places[drawn])
