"""Choosing tokens: each filter by its definition on small vocabularies, the rest on one of the real size."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gptoss_tui.engine.torch.sampling import (
    NUM_TEXT_TOKENS,
    USED_SPECIAL_TOKENS,
    choose,
    draw,
    keep_nucleus,
    new_generator,
    sample,
    top_alternatives,
    unused_ids,
)
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.errors import EngineError

CPU = torch.device("cpu")
VOCAB_SIZE = 201_088
GREEDY = SamplingParams(temperature=0.0)


def generator(seed: int = 0) -> torch.Generator:
    """A seeded generator."""
    return new_generator(seed, CPU)


def drawn_ids(logits: Tensor, params: SamplingParams, times: int = 400) -> Counter[int]:
    """What `times` draws give."""
    source = generator()
    return Counter(choose(logits, params, source) for _ in range(times))


def log_weights(*weights: float) -> Tensor:
    """Logits of these probabilities."""
    return torch.tensor(weights).log()


def test_temperature_zero_takes_the_largest() -> None:
    """Whatever the seed and the filters."""
    logits = torch.tensor([0.0, 3.0, 2.9])
    params = SamplingParams(temperature=0.0, top_k=3, top_p=0.1, min_p=0.5)
    assert {choose(logits, params, generator(seed)) for seed in range(20)} == {1}


def test_frequencies_follow_the_distribution() -> None:
    """At temperature 1 and at another one; bounds of five standard deviations."""
    weights = torch.tensor([0.5, 0.3, 0.15, 0.05])
    for temperature in (1.0, 0.5):
        expected = (weights.log() / temperature).softmax(0)
        counts = drawn_ids(weights.log(), SamplingParams(temperature=temperature), times=4000)
        for token, probability in enumerate(expected.tolist()):
            slack = 5 * math.sqrt(4000 * probability * (1 - probability))
            assert abs(counts[token] - 4000 * probability) < slack


@pytest.mark.parametrize("temperature", [1e-300, 1e-30, 1e-3])
def test_tiny_temperatures_do_not_overflow(temperature: float) -> None:
    """They come to the arg-max."""
    assert set(drawn_ids(torch.tensor([80.0, 100.0, 99.0]), SamplingParams(temperature=temperature), 20)) == {1}


def test_top_k_keeps_the_k_most_likely() -> None:
    """All of them and no other; more than the vocabulary is all."""
    logits = log_weights(0.1, 0.4, 0.2, 0.3)
    assert set(drawn_ids(logits, SamplingParams(top_k=2))) == {1, 3}
    assert set(drawn_ids(logits, SamplingParams(top_k=9))) == {0, 1, 2, 3}


@pytest.mark.parametrize(("top_p", "kept"), [(0.39, {1}), (0.41, {1, 3}), (0.71, {1, 2, 3}), (1.0, {0, 1, 2, 3})])
def test_top_p_keeps_the_fewest_that_hold_the_mass(top_p: float, kept: set[int]) -> None:
    """The token that crosses the bound belongs to them."""
    assert set(drawn_ids(log_weights(0.1, 0.4, 0.2, 0.3), SamplingParams(top_p=top_p))) == kept


def test_min_p_is_relative_to_the_most_likely() -> None:
    """0.2 is half of 0.4."""
    logits = log_weights(0.1, 0.4, 0.2, 0.3)
    assert set(drawn_ids(logits, SamplingParams(min_p=0.49))) == {1, 2, 3}
    assert set(drawn_ids(logits, SamplingParams(min_p=0.51))) == {1, 3}


def test_filters_apply_in_order() -> None:
    """Temperature flattens before top-p counts mass, and top-p counts what top-k left."""
    logits = log_weights(0.1, 0.4, 0.2, 0.3)
    assert set(drawn_ids(logits, SamplingParams(top_p=0.41, temperature=100.0))) == {1, 3}
    assert set(drawn_ids(logits, SamplingParams(top_p=0.56))) == {1, 3}
    assert set(drawn_ids(logits, SamplingParams(top_p=0.56, top_k=2))) == {1}
    assert set(drawn_ids(logits, SamplingParams(top_p=0.56, logit_bias={0: 5.0}))) == {0}


def test_logit_bias_moves_and_bans() -> None:
    """At temperature 0 and above."""
    logits = torch.tensor([0.0, 1.0, 2.0])
    assert choose(logits, SamplingParams(temperature=0.0, logit_bias={0: 3.0}), generator()) == 0
    assert set(drawn_ids(logits, SamplingParams(logit_bias={2: -math.inf}))) == {0, 1}


def test_logprobs_are_of_the_raw_distribution() -> None:
    """Bias and temperature change the choice only."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0])
    raw = logits.log_softmax(0)
    token = sample(logits, SamplingParams(temperature=0.0, logit_bias={3: 9.0}, top_logprobs=2), generator())
    assert token.id == 3
    assert token.logprob == pytest.approx(float(raw[3]))
    assert [token for token, _ in token.top] == [2, 1]
    assert [logprob for _, logprob in token.top] == pytest.approx([float(raw[2]), float(raw[1])])


def test_no_alternatives_unless_asked_for() -> None:
    """And no more than there are ids."""
    assert sample(torch.zeros(4), GREEDY, generator()).top == ()
    assert len(top_alternatives(torch.zeros(4), 20)) == 4


def test_the_logits_are_left_as_they_are() -> None:
    """The caller may use them again."""
    logits = torch.randn(VOCAB_SIZE, generator=generator())
    before = logits.clone()
    sample(logits, SamplingParams(logit_bias={5: 2.0}, top_p=0.5, top_k=10), generator())
    assert torch.equal(logits, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_an_error(bad: float) -> None:
    """Rather than a random token."""
    with pytest.raises(EngineError, match="NaN or infinite"):
        sample(torch.tensor([0.0, bad]), GREEDY, generator())


def test_a_seed_gives_the_same_tokens_again() -> None:
    """Each request has a generator of its own; other seeds, and none, give others."""
    logits = torch.zeros(1000)

    def tokens(seed: int | None) -> list[int]:
        source = new_generator(seed, CPU)
        return [choose(logits, SamplingParams(), source) for _ in range(20)]

    assert tokens(7) == tokens(7)
    assert tokens(7) != tokens(8)
    assert tokens(None) != tokens(None)
    assert tokens(-1) == tokens(-1)
    assert tokens(2**70) == tokens(2**70)


def test_ids_without_text_are_never_chosen() -> None:
    """Reserved rows may have the largest logits; the named special tokens can still be chosen."""
    assert unused_ids(VOCAB_SIZE, CPU).shape[0] == VOCAB_SIZE - NUM_TEXT_TOKENS - len(USED_SPECIAL_TOKENS)
    logits = torch.full((VOCAB_SIZE,), -90.0)
    logits[NUM_TEXT_TOKENS:] = 10.0
    logits[NUM_TEXT_TOKENS] = 11.0
    allowed = set(USED_SPECIAL_TOKENS)
    assert choose(logits, GREEDY, generator()) in allowed
    assert set(drawn_ids(logits, SamplingParams(), 30)) <= allowed
    assert set(drawn_ids(logits, SamplingParams(logit_bias={200_500: 100.0}), 10)) <= allowed


def test_small_vocabularies_of_test_models_are_all_allowed() -> None:
    """They have no special tokens."""
    assert unused_ids(300, CPU).shape[0] == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=600), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_the_nucleus_is_the_smallest_set(raw: list[float], top_p: float) -> None:
    """Against the definition, by a full sort; also beyond the first look at the largest values."""
    weights = torch.tensor([*raw, 0.5], dtype=torch.float32)
    kept = keep_nucleus(weights, top_p)
    assert torch.equal(kept[kept > 0], weights[kept > 0])
    descending = weights.double().sort(descending=True).values
    fewest = int((descending.cumsum(0) < top_p * weights.sum(dtype=torch.float64)).sum()) + 1
    assert int((kept > 0).sum()) == int((descending[:fewest] > 0).sum())
    assert float(kept.sum(dtype=torch.float64)) == pytest.approx(float(descending[:fewest].sum()))


def test_draws_follow_the_weights_over_a_whole_vocabulary() -> None:
    """Few weights among zeros, at the edges of blocks and far apart; bounds of five standard deviations."""
    weights = {0: 1.0, 511: 3.0, 512: 2.0, 90_000: 3.5, VOCAB_SIZE - 1: 0.5}
    vocabulary = torch.zeros(VOCAB_SIZE)
    for token, weight in weights.items():
        vocabulary[token] = weight
    source = generator()
    counts = Counter(draw(vocabulary, source) for _ in range(2000))
    assert set(counts) == set(weights)
    for token, weight in weights.items():
        assert abs(counts[token] - 200 * weight) < 5 * math.sqrt(200 * weight)


def test_weights_of_zero_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the ends and in between, also by the least number that can come."""
    source = generator()
    weights = torch.tensor([0.0, 1e-30, 0.0, 1e-30, 0.0])
    assert {draw(weights, source) for _ in range(200)} == {1, 3}
    monkeypatch.setattr(torch, "rand", lambda *size, **options: torch.zeros((), dtype=torch.float64))
    assert draw(weights, source) == 1


def test_no_rounding_leads_behind_the_last_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of the same weights in another order differ in their last bits."""
    largest = torch.tensor(math.nextafter(1.0, 0.0), dtype=torch.float64)
    source = generator()
    many = [torch.rand(512, generator=source) ** 4 for _ in range(100)]
    monkeypatch.setattr(torch, "rand", lambda *size, **options: largest)
    for weights in many:
        assert weights[draw(weights, source)] > 0
