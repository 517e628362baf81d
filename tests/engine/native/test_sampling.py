"""Choosing tokens without torch follows the distribution, and what torch's engine says of filters."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gptoss_tui.engine.constraint import TokenState
from gptoss_tui.engine.native.backend import NativeBackend, load_backend
from gptoss_tui.engine.native.library import available
from gptoss_tui.engine.native.sampling import Sampler, bias_of, choose, choose_in
from gptoss_tui.engine.torch import sampling as torch_sampling
from gptoss_tui.engine.types import EngineSpec, SamplingParams
from gptoss_tui.errors import EngineError
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, USED_SPECIAL_TOKENS, VOCAB_SIZE
from tests.engine.native.conftest import NO_BIAS

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")


class _Fixed(random.Random):
    """Always the same number."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self._number = number

    def random(self) -> float:
        return self._number


@pytest.fixture(scope="module")
def backend(checkpoint: Callable[[str], Path]) -> Iterator[NativeBackend]:
    spec = EngineSpec(checkpoint("small"), backend="native", dtype="float32", context=64)
    backend = load_backend(spec, lambda step: None)
    backend.model.run(backend._cache, [5, 17, 100])
    yield backend
    backend.close()


def test_drawing_in_the_library_follows_the_distribution(backend: NativeBackend) -> None:
    """Frequencies at temperature 0.7 against the softmax; evenly spread numbers leave nothing to chance."""
    shares = np.exp(backend.model.all_logits(2).astype(np.float64) / 0.7)
    shares /= shares.sum()
    draws = 2000
    params = SamplingParams(temperature=0.7)
    seen: Counter[int] = Counter()
    for n in range(draws):
        token = backend.model.sampler.sample(backend.model.handle, 2, params, _Fixed((n + 0.5) / draws), None, NO_BIAS)
        seen[token.id] += 1
    assert max(abs(seen[id] - draws * share) for id, share in enumerate(shares)) < 2.1


def test_the_logprob_is_of_the_raw_distribution(backend: NativeBackend) -> None:
    """Whatever the temperature, in the library and in Python."""
    expected = torch.log_softmax(torch.tensor(backend.model.all_logits(2)), 0)
    for extra in ({}, {"top_k": 50}):
        params = SamplingParams(temperature=3.0, **extra)  # type: ignore[arg-type]
        for seed in range(5):
            token = backend.model.sampler.sample(backend.model.handle, 2, params, random.Random(seed), None, NO_BIAS)
            assert token.logprob == pytest.approx(float(expected[token.id]), abs=1e-4)


def test_ids_that_share_a_row_share_its_mass() -> None:
    """Counts of the library, of all ids and of those that may be sampled, and the ids of each row."""
    rows = np.zeros(VOCAB_SIZE, dtype=np.int32)
    rows[:4] = [1, 2, 1, 3]
    rows[4:] = 4
    rows[list(USED_SPECIAL_TOKENS)] = np.arange(5, 12)
    sampler = Sampler(rows)
    assert sampler.counts[:5].tolist() == [0, 2, 1, 1, VOCAB_SIZE - 4 - 7]
    assert sampler.used[:5].tolist() == [0, 2, 1, 1, NUM_TEXT_TOKENS - 4]
    assert sampler.used[5:12].tolist() == [1] * 7
    assert len(sampler.used) == 16
    assert sampler._ids[sampler._first[1] : sampler._first[2]].tolist() == [0, 2]


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0.8, top_k=5),
        SamplingParams(temperature=1.5, top_p=0.6),
        SamplingParams(temperature=1.0, min_p=0.2),
        SamplingParams(temperature=1.3, top_k=20, top_p=0.8, min_p=0.05, logit_bias={3: 2.0, 40: -9.0}),
    ],
)
def test_filters_leave_the_tokens_that_torch_leaves(params: SamplingParams) -> None:
    """And the same shares among them: drawn at evenly spread numbers."""
    logits = np.random.default_rng(3).normal(size=60).astype(np.float32) * 2
    nothing = np.empty(0, dtype=np.int64)
    draws, bias = 400, bias_of(params)
    ours = Counter(choose_in(None, logits, params, _Fixed((n + 0.5) / draws), nothing, bias) for n in range(draws))
    generator = torch_sampling.new_generator(1, torch.device("cpu"))
    theirs = {torch_sampling.choose(torch.tensor(logits), params, generator) for _ in range(1500)}
    assert {id for id, seen in ours.items() if seen > 8} <= theirs
    assert len(theirs - set(ours)) <= 1, "one that is hardly ever drawn may fall between the numbers"


def test_masks_and_states_restrict() -> None:
    """A grammar's mask, special tokens that text does not name, and a few ids."""
    logits = np.zeros(20, dtype=np.float32)
    logits[3] = 9.0
    nothing = np.empty(0, dtype=np.int64)
    greedy = SamplingParams(temperature=0.0)
    mask = bytes([0b00010000, 0b00000001])
    state = TokenState({11: 0}, text=True, mask=mask)
    drawn = {choose_in(state, logits, SamplingParams(), random.Random(n), nothing, NO_BIAS) for n in range(60)}
    assert drawn == {4, 8, 11}
    assert choose_in(TokenState({6: 0}), logits, greedy, random.Random(1), nothing, NO_BIAS) == 6
    assert choose_in(TokenState({}, text=True), logits, greedy, random.Random(1), nothing, NO_BIAS) == 3
    with pytest.raises(EngineError, match="grammar"):
        choose_in(TokenState({}, text=True, mask=bytes(3)), logits, greedy, random.Random(1), nothing, NO_BIAS)


def test_a_bias_counts_where_its_token_may_come() -> None:
    """Before the first id that is allowed, behind the last one, between them, and on one."""
    logits = np.zeros(20, dtype=np.float32)
    params = SamplingParams(temperature=0.0, logit_bias={0: 9.0, 8: 1.0, 7: 2.0, 19: 9.0})
    state, nothing = TokenState(dict.fromkeys((4, 8, 11), 0)), np.empty(0, dtype=np.int64)
    bias = bias_of(params)
    assert choose_in(state, logits, params, random.Random(1), nothing, bias) == 8
    assert choose_in(None, logits, params, random.Random(1), nothing, bias) == 0


def test_the_last_number_below_one_draws_something_likely() -> None:
    """Rounding does not lead beyond the end."""
    scores = np.array([0.0, -1.0, -1e9])
    assert choose(scores, SamplingParams(), _Fixed(math.nextafter(1.0, 0.0))) == 1
