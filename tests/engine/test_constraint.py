"""Automata over tokens, and choosing inside them."""

from __future__ import annotations

import pytest
import torch

from gptoss_tui.engine.constraint import TokenAutomaton, TokenState, Walk, automaton_of
from gptoss_tui.engine.torch.sampling import new_generator, sample
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.engine.worker.protocol import Generate, decode_request, encode_request
from gptoss_tui.vocabulary import USED_SPECIAL_TOKENS

END = USED_SPECIAL_TOKENS[4]
VOCABULARY = 201_088


@pytest.fixture
def automaton() -> TokenAutomaton:
    """1 2 3 or 1 4, then text up to the end token."""
    states = [TokenState({}), TokenState({END: 0}, text=True)]
    root = automaton_of([((1, 2, 3), 1), ((1, 4), 1)], states)
    return TokenAutomaton(tuple(states), root)


def test_a_walk_follows_the_tokens(automaton: TokenAutomaton) -> None:
    walk = Walk(automaton)
    for token, following in ((1, {2, 4}), (2, {3}), (3, {END})):
        walk.advance(token)
        assert walk.state is not None
        assert set(walk.state.following) == following
    for token in (77, 78, END):
        assert walk.state is not None
        assert walk.state.text
        walk.advance(token)
    assert walk.state is None


def test_a_walk_can_go_on_elsewhere(automaton: TokenAutomaton) -> None:
    """As when a generation is continued by another request."""
    walk = Walk(automaton)
    walk.advance(1)
    assert walk.rest is not None
    other = Walk(walk.rest)
    other.advance(4)
    assert other.state is not None
    assert other.state.text


def test_a_token_that_nobody_asked_about_ends_the_restriction(automaton: TokenAutomaton) -> None:
    walk = Walk(automaton)
    walk.advance(9)
    assert walk.state is None
    assert walk.rest is None


def test_it_crosses_the_border_to_the_worker(automaton: TokenAutomaton) -> None:
    request = Generate(1, (5,), SamplingParams(constraint=automaton))
    assert decode_request(encode_request(request)[4:]) == request


@pytest.mark.parametrize(
    "params", [SamplingParams(temperature=0.0), SamplingParams(temperature=3.0, top_p=0.5, seed=1)]
)
def test_only_what_is_allowed_is_chosen(params: SamplingParams) -> None:
    """Even when the model is sure of something else; the logprob is still the model's own."""
    logits = torch.zeros(VOCABULARY)
    logits[50] = 30.0
    generator = new_generator(1, torch.device("cpu"))
    for _ in range(20):
        token = sample(logits, params, generator, TokenState({2: 0, 4: 0}))
        assert token.id in (2, 4)
        assert token.logprob == pytest.approx(-30.0, abs=1e-3)


@pytest.mark.parametrize("liked", [2, 4])
def test_a_bias_counts_among_what_is_allowed(liked: int) -> None:
    params = SamplingParams(temperature=0.0, logit_bias={liked: 1.0, 9: 50.0})
    token = sample(torch.zeros(VOCABULARY), params, new_generator(1, torch.device("cpu")), TokenState({2: 0, 4: 0}))
    assert token.id == liked


def test_text_is_free_but_for_control_tokens() -> None:
    logits = torch.zeros(VOCABULARY)
    for special in USED_SPECIAL_TOKENS:
        logits[special] = 20.0
    logits[END], logits[123] = 5.0, 10.0
    params, generator = SamplingParams(temperature=0.0), new_generator(1, torch.device("cpu"))
    state = TokenState({END: 0}, text=True)
    assert sample(logits, params, generator, state).id == 123
    logits[END] = 11.0
    assert sample(logits, params, generator, state).id == END
