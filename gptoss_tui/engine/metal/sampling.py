"""Chooses tokens on the GPU, where the logits are, by the same rules as `torch/sampling.py` does with torch.

A draw is an arg-max: of the scores, or of scores plus Gumbel noise, which chooses each token with its probability. The
noise of an id is a hash of the id and the step's key, so a kernel can compute it on the fly (`kernels/unembed.metal`).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.constraint import TokenState
from gptoss_tui.engine.failures import not_finite, nothing_allowed
from gptoss_tui.engine.types import LOWEST_TEMPERATURE, SamplingParams, Token
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, USED_SPECIAL_TOKENS

Mask = npt.NDArray[np.bool_]

COLDEST = 1e-3
"""With temperatures below this, the largest score is subtracted before the division, so that nothing overflows."""


def hashed(x: mx.array) -> mx.array:
    """Hash x uint32 so that each of its bits affects half of the result's: `lowbias32` by Chris Wellons."""
    x = (x ^ (x >> 16)) * mx.array(0x7FEB352D, dtype=mx.uint32)
    x = (x ^ (x >> 15)) * mx.array(0x846CA68B, dtype=mx.uint32)
    return x ^ (x >> 16)


def gumbel(ids: mx.array, key: mx.array) -> mx.array:
    """Gumbel noise float32 for `ids` uint32 and a step's `key` uint32 [2]."""
    uniform = (hashed(hashed(ids + key[0]) ^ key[1]).astype(mx.float32) + 0.5) * 2.0**-32
    # Near 0, where precision matters, 1 - x would lose the digits of x.
    exponential = mx.where(uniform < 1e-3, uniform + 0.5 * uniform * uniform, -mx.log(1.0 - uniform))
    return -mx.log(exponential)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chosen token as lazy arrays: `id` uint32 [1], its log-probability, and alternatives, best first."""

    id: mx.array
    logprob: mx.array
    top_ids: mx.array | None = None
    top_logprobs: mx.array | None = None

    def arrays(self) -> list[mx.array]:
        """All arrays that `read` reads."""
        return [part for part in (self.id, self.logprob, self.top_ids, self.top_logprobs) if part is not None]

    def read(self) -> Token:
        """Wait for the token. Raises EngineError if the logits were not finite."""
        logprob = float(self.logprob.item())
        if not math.isfinite(logprob):
            raise not_finite()
        top: tuple[tuple[int, float], ...] = ()
        if self.top_ids is not None and self.top_logprobs is not None:
            top = tuple(zip(self.top_ids.tolist(), self.top_logprobs.tolist(), strict=True))
        return Token(int(self.id.item()), logprob, top)


class Sampler:
    """Chooses the tokens of one request. Holds its parameters, its random numbers, and masks of the allowed ids."""

    def __init__(self, params: SamplingParams, vocab_size: int) -> None:
        self.params = params
        self._vocab = vocab_size
        self._random = random.Random(params.seed)
        for _ in range(params.drawn):
            self._random.getrandbits(64)  # skip the key of each token drawn before
        self._masks: dict[tuple[int, ...] | None, mx.array] = {}
        self._bias = self._biases()

    @property
    def is_plain(self) -> bool:
        """Whether a draw needs only the logits: no filter, no bias, no alternatives, and no temperature close to 0."""
        params = self.params
        filtered = params.top_p < 1.0 or params.top_k or params.min_p > 0.0 or params.logit_bias
        return not (filtered or params.top_logprobs or 0.0 < params.temperature < COLDEST)

    @property
    def coldness(self) -> float:
        """One over the temperature; 0 asks for the likeliest token."""
        return 1.0 / self.params.temperature if self.params.temperature else 0.0

    def next_key(self) -> mx.array:
        """The key of the next step's noise, uint32 [2]."""
        bits = self._random.getrandbits(64)
        return mx.array([bits & 0xFFFFFFFF, bits >> 32], dtype=mx.uint32)

    def allowed(self, state: TokenState | None) -> mx.array:
        """Which ids may be chosen in `state`: bool [V]. Raises EngineError if there are none."""
        if state is not None and (state.mask is not None or not state.text):
            return mx.array(_checked(self._allowed(state)))
        key = None if state is None else tuple(sorted(state.following))
        if key not in self._masks:
            self._masks[key] = mx.array(_checked(self._allowed(state)))
        return self._masks[key]

    def draw(self, logits: mx.array, allowed: mx.array, key: mx.array) -> Drawn:
        """Choose a token by `logits` float32 [V]. Log-probabilities come from their log-softmax, before any filter."""
        total = mx.logsumexp(logits)
        chosen = self._choose(logits, allowed, key).reshape(1)
        drawn = Drawn(chosen, logits[chosen[0]] - total)
        if self.params.top_logprobs:
            best = best_ids(logits, min(self.params.top_logprobs, self._vocab))
            drawn = Drawn(drawn.id, drawn.logprob, best, logits[best] - total)
        return drawn

    def _choose(self, logits: mx.array, allowed: mx.array, key: mx.array) -> mx.array:
        """Choose an id, uint32 []."""
        params = self.params
        scores = mx.where(allowed, logits if self._bias is None else logits + self._bias, -math.inf)
        if params.temperature == 0.0:
            return mx.argmax(scores)
        # Subtract the largest first, and never divide by zero, so that no temperature makes the scores overflow.
        scores = (scores - scores.max()) / max(params.temperature, LOWEST_TEMPERATURE)
        ids = mx.arange(self._vocab, dtype=mx.uint32)
        if 0 < params.top_k < self._vocab:
            ids = mx.argpartition(-scores, params.top_k - 1)[: params.top_k]
            scores = scores[ids]
        if params.top_p < 1.0:
            order = mx.argsort(-scores)
            ids, scores = ids[order], scores[order]
            weights = mx.exp(scores)
            before = mx.cumsum(weights) - weights
            scores = mx.where(before < params.top_p * weights.sum(), scores, -math.inf)
        if params.min_p > 0.0:
            scores = mx.where(scores >= math.log(params.min_p), scores, -math.inf)
        return ids[mx.argmax(scores + gumbel(ids, key))]

    def _allowed(self, state: TokenState | None) -> Mask:
        allowed = np.ones(self._vocab, dtype=np.bool_)
        if state is not None and not (state.text and state.mask is None):
            allowed[:] = False
            if state.mask is not None:
                bits = np.unpackbits(np.frombuffer(state.mask, dtype=np.uint8), bitorder="little")[: self._vocab]
                allowed[: len(bits)] = bits
        elif state is not None:
            allowed[[token for token in USED_SPECIAL_TOKENS if token < self._vocab]] = False
        unused = np.ones(self._vocab, dtype=np.bool_)
        unused[:NUM_TEXT_TOKENS] = False
        unused[[token for token in USED_SPECIAL_TOKENS if token < self._vocab]] = False
        if state is None or state.text:
            allowed[unused] = False
        if state is not None:
            allowed[[token for token in state.following if token < self._vocab]] = True
        return allowed

    def _biases(self) -> mx.array | None:
        if not self.params.logit_bias:
            return None
        bias = np.zeros(self._vocab, dtype=np.float32)
        for token, value in self.params.logit_bias.items():
            bias[token] = value
        return mx.array(bias)


def best_ids(logits: mx.array, count: int) -> mx.array:
    """The ids of the `count` largest of logits [..., V], best first: [..., count]."""
    some = mx.argpartition(-logits, count - 1, axis=-1)[..., :count]
    order = mx.argsort(-mx.take_along_axis(logits, some, axis=-1), axis=-1)
    return mx.take_along_axis(some, order, axis=-1)


def _checked(allowed: Mask) -> Mask:
    if not allowed.any():
        raise nothing_allowed()
    return allowed
