"""Drafts by prompt lookup change how many steps an answer takes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gptoss_tui.engine.constraint import TokenAutomaton, TokenState
from gptoss_tui.engine.triton.backend import TritonBackend
from gptoss_tui.engine.triton.steps import AHEAD, IDLE, LONGEST_PAUSE, Pace, Steps, _Fetch
from gptoss_tui.engine.types import SamplingParams, Token
from tests.engine.triton.conftest import FEW, SHALLOW, triton_weights

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

CONTEXT = 64
PROMPT = [7, 8, 9, 30, 31, 32, 7, 8, 9]


@pytest.fixture(scope="module")
def backend(checkpoint: Callable[[str], Path]) -> Iterator[TritonBackend]:
    """A model of one layer in float32."""
    patch = pytest.MonkeyPatch()
    patch.setattr("gptoss_tui.engine.triton.decode.Blocks", lambda: FEW)
    config, weights = triton_weights(checkpoint(SHALLOW))
    backend = TritonBackend(config, weights, CONTEXT, SHALLOW)
    yield backend
    backend.close()
    patch.undo()


def answer(
    backend: TritonBackend, monkeypatch: pytest.MonkeyPatch, params: SamplingParams, *, drafts: bool
) -> tuple[list[Token], list[int]]:
    """What comes after PROMPT, and how many tokens each step ran."""
    ran: list[int] = []
    step = Steps._step

    def counted(self: Steps, keys: int, tokens: int, *, choose: bool) -> None:
        ran.append(tokens)
        step(self, keys, tokens, choose=choose)

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "_step", counted)
        patch.setattr(backend, "_steps", Steps(backend._decoder, drafts=drafts))
        backend._cache.clear()
        events = list(backend.generate(PROMPT, params, lambda: False))
    return [event for event in events if isinstance(event, Token)], ran


def only(*ids: int) -> dict[int, float]:
    """A bias that leaves the choice between these."""
    return dict.fromkeys(ids, 100.0)


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0.0, max_tokens=8, logit_bias=only(30)),
        SamplingParams(temperature=1.0, seed=5, max_tokens=10, logit_bias=only(8, 9)),
    ],
    ids=["greedy", "drawn"],
)
def test_the_answer_is_the_same_in_fewer_steps(
    backend: TritonBackend, monkeypatch: pytest.MonkeyPatch, params: SamplingParams
) -> None:
    """One token again and again, and two in an order that the noise decides: some drafts hold, some do not."""
    alone, singles = answer(backend, monkeypatch, params, drafts=False)
    together, steps = answer(backend, monkeypatch, params, drafts=True)
    assert [token.id for token in together] == [token.id for token in alone]
    assert [token.logprob for token in together] == pytest.approx([token.logprob for token in alone], abs=1e-4)
    assert set(singles) == {1}
    assert max(steps) > 1
    assert len(steps) < len(singles)
    assert len(together) == params.max_tokens


def test_an_automaton_is_followed_through_drafts(backend: TritonBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """7 8 9 30 in a circle: every draft holds, and no other token comes."""
    circle = (7, 8, 9, 30)
    states = tuple(TokenState({circle[(n + 3) % 4]: (n + 1) % 4}) for n in range(4))
    params = SamplingParams(temperature=3.0, seed=1, max_tokens=8, constraint=TokenAutomaton(states, 0))
    tokens, steps = answer(backend, monkeypatch, params, drafts=True)
    assert [token.id for token in tokens] == [30, 7, 8, 9] * 2
    assert max(steps) > 1


def test_what_was_drafted_is_cached_as_if_it_came_alone(
    backend: TritonBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next prompt goes on after the answer and gets what a fresh one gets."""
    params = SamplingParams(temperature=0.0, max_tokens=6, logit_bias=only(30))
    tokens, _ = answer(backend, monkeypatch, params, drafts=True)
    following = [*PROMPT, *(token.id for token in tokens), 44]
    one = SamplingParams(temperature=0.0, max_tokens=1)
    (reused,) = [event for event in backend.generate(following, one, lambda: False) if isinstance(event, Token)]
    assert backend.info().cached_tokens == len(following)
    backend._cache.rewind(0)
    backend._cache._sliding.fill_(torch.nan)
    (fresh,) = [event for event in backend.generate(following, one, lambda: False) if isinstance(event, Token)]
    assert reused.id == fresh.id
    assert reused.logprob == pytest.approx(fresh.logprob, abs=1e-4)


def test_drafts_are_of_the_conversation_that_runs(backend: TritonBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one came between, and what it said is not looked up."""
    params = SamplingParams(temperature=0.0, max_tokens=6, logit_bias=only(30))
    other = SamplingParams(temperature=0.0, max_tokens=1)
    backend.park_up_to(10**9)
    tokens, _ = answer(backend, monkeypatch, params, drafts=True)
    list(backend.generate([50, 51, 52, 53], other, lambda: False))
    following = [*PROMPT, *(token.id for token in tokens), 44]
    ran: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(backend, "_steps", Steps(backend._decoder, drafts=True))
        patch.setattr(backend._steps, "_step", _counted(backend._steps, ran))
        again = [event for event in backend.generate(following, params, lambda: False) if isinstance(event, Token)]
    assert (backend.info().parked, max(ran) > 1) == (1, True)
    held = backend._cache.tokens
    assert backend._decoder.state.history[: len(held)].tolist() == held
    backend.park_up_to(0)
    backend._cache.clear()
    fresh = [event for event in backend.generate(following, params, lambda: False) if isinstance(event, Token)]
    assert [token.id for token in again] == [token.id for token in fresh]
    assert [token.logprob for token in again] == pytest.approx([token.logprob for token in fresh], abs=1e-4)


def _counted(steps: Steps, ran: list[int]) -> Callable[..., None]:
    """Its steps, which are counted in `ran`."""
    step = steps._step

    def counted(keys: int, tokens: int, *, choose: bool) -> None:
        ran.append(tokens)
        step(keys, tokens, choose=choose)

    return counted


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 1, 2, 3], [4, 5, 6, 1, 2, 3]),  # what stood behind, up to the newest
        ([9, 1, 2, 3, 40, 5, 1, 2, 3, 50, 9, 1, 2, 3], [40, 5, 1, 2, 3, 50, 9]),  # more in common beats later
        ([1, 2, 3, 40, 5, 1, 2, 3, 50, 6, 1, 2, 3], [50, 6, 1, 2, 3]),  # else the later place
        ([1, 2, 9, 4, 1, 2], []),  # two tokens are too few
        ([5, 5, 5, 5], [5]),
        ([5], []),
    ],
)
def test_what_is_drafted(backend: TritonBackend, history: list[int], expected: list[int]) -> None:
    """By the longest match, then the latest one."""
    state, newest = backend._decoder.state, len(history) - 1
    state.history[: len(history)] = torch.tensor(history, dtype=torch.int32)
    state.position.fill_(newest)
    state.at.fill_(-1)
    with torch.inference_mode():
        backend._decoder.draft()
    count = int(state.count)
    assert state.drafts[: count - 1].tolist() == expected
    embedded = backend.weights.embedding[torch.tensor(expected, dtype=torch.int64)].float()
    torch.testing.assert_close(state.xs[1:count], embedded)
    assert int(state.found) == int(state.looked) == 0


def test_the_pace_follows_what_drafts_bring() -> None:
    """All that there are after a full house, as many as held else, none for a while after none held."""
    pace = Pace(8)
    pace.saw(1, 1, inputs=1)
    assert pace.tokens == 1
    for ran, kept, expected in ((1, 1, 8), (8, 8, 8), (8, 3, 4), (4, 2, 2), (2, 2, 8), (8, 1, 1)):
        pace.saw(ran, kept, inputs=8)
        assert pace.tokens == expected
        assert pace.ahead == (AHEAD if pace.tokens == 1 else 1)
    pauses = []
    for _ in range(6):
        pauses.append(0)
        while pace.tokens == 1:
            pace.saw(1, 1, inputs=8)
            pauses[-1] += 1
        pace.saw(2, 1, inputs=8)
    assert pauses == [2, 4, 8, 16, 32, 32]
    assert max(pauses) == LONGEST_PAUSE
    for _ in range(IDLE):
        pace.saw(1, 1, inputs=1)
    assert pace.ahead == AHEAD


def test_keys_are_in_as_many_parts_as_for_each_token_alone(backend: TritonBackend) -> None:
    """A step ends where that number changes, and waits while it is not known on which side it begins."""
    steps, pace, edge = Steps(backend._decoder, drafts=True), Pace(8), FEW.keys
    pace.saw(1, 1, inputs=8)
    backend._cache.clear()

    def tokens(length: int, flying: int = 0, room: int = 20) -> int:
        return steps._next_tokens([_Fetch(0, flying, None)] if flying else [], pace, length, room)

    assert [tokens(edge - before) for before in (7, 6, 3, 2, 0, -1)] == [8, 4, 4, 2, 1, 8]
    assert [tokens(edge - before, flying=4) for before in (12, 5, 4, 3, 1, 0)] == [8, 2, 1, 0, 0, 8]
    assert [tokens(5, room=room) for room in (8, 7, 1)] == [8, 4, 1]
    assert [tokens(5, flying=4, room=room) for room in (12, 5, 4)] == [8, 1, 0]
