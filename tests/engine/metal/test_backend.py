"""The Metal backend keeps the engine's contract: tokens of the torch engine, reuse, limits, cancelling, loading."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gptoss_tui.engine import backends
from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, TokenState, automaton_of
from gptoss_tui.engine.metal.device import ON_CPU_VARIABLE
from gptoss_tui.engine.torch.backend import TorchBackend
from gptoss_tui.engine.types import EngineSpec, Finished, LoadProgress, SamplingParams, Token
from gptoss_tui.errors import ContextOverflowError, EngineError
from tests.conformance.runs import float32_model
from tests.engine.grammar.automata import CLOSE, is_number_in_brackets, number_in_brackets

CONTEXT = 64
CHUNK = 16
GREEDY = SamplingParams(temperature=0.0, max_tokens=4)
PROMPT = [5, 17, 100, 3, 60, 8, 44]


@pytest.fixture(scope="module")
def both(checkpoint: Callable[[str], Path]) -> Iterator[tuple[Backend, TorchBackend]]:
    """Both backends with the small model, in float32."""
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    directory, steps = checkpoint("small"), list[LoadProgress]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ON_CPU_VARIABLE, "1")
        spec = EngineSpec(directory, backend="metal", dtype="float32", context=CONTEXT)
        backend = backends.load_backend(spec, steps.append)
    assert steps[-1].info == backend.info()
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    backend._chunk = CHUNK
    backend._cache = type(backend._cache)(backend.config, CONTEXT, CHUNK, backend.model.weights.dtype)
    yield backend, TorchBackend(float32_model(directory), CONTEXT, "small", chunk=CHUNK)
    backend.close()


@pytest.fixture
def backend(both: tuple[Backend, TorchBackend]) -> Backend:
    """The Metal backend, with nothing cached."""
    both[0]._cache.clear()
    return both[0]


@pytest.fixture
def torch_backend(both: tuple[Backend, TorchBackend]) -> TorchBackend:
    """The reference, with nothing cached."""
    both[1]._cache.clear()
    return both[1]


def run(
    backend: Backend, prompt: list[int], params: SamplingParams, cancelled: Callable[[], bool] = lambda: False
) -> tuple[list[Token], Finished]:
    """A whole generation."""
    events = list(backend.generate(prompt, params, cancelled))
    assert isinstance(events[-1], Finished)
    return [event for event in events if isinstance(event, Token)], events[-1]


def ids(tokens: list[Token]) -> list[int]:
    return [token.id for token in tokens]


@pytest.mark.parametrize("extra", [{}, {"top_logprobs": 3}, {"logit_bias": {7: 3.0}}, {"top_p": 0.5, "top_k": 9}])
def test_greedy_tokens_and_logprobs_are_those_of_the_torch_engine(
    backend: Backend, torch_backend: TorchBackend, extra: dict[str, object]
) -> None:
    """With what is said about them."""
    params = replace(GREEDY, **extra)  # type: ignore[arg-type]
    ours, finished = run(backend, PROMPT, params)
    theirs, _ = run(torch_backend, PROMPT, params)
    assert ids(ours) == ids(theirs)
    assert [token.logprob for token in ours] == pytest.approx([token.logprob for token in theirs], abs=1e-3)
    assert [[id for id, _ in token.top] for token in ours] == [[id for id, _ in token.top] for token in theirs]
    assert (finished.reason, finished.usage.generated_tokens) == ("length", 4)


def test_reuse_is_that_of_the_torch_engine(backend: Backend, torch_backend: TorchBackend) -> None:
    """Count by count: a turn, the next one, the same again, back behind the window, another beginning and back."""
    long = [(7 * n) % 300 for n in range(40)]
    keep = replace(GREEDY, keep_prefix=5)
    answer = ids(run(torch_backend, long, GREEDY)[0])
    prompts = [(long, keep), ([*long, *answer, 9], GREEDY), (long, GREEDY), ([*long[:12], 250], GREEDY)]
    prompts += [([200 + n for n in range(30)], keep), ([*long[:5], 90, 91], keep)]
    torch_backend._cache.clear()
    for prompt, params in prompts:
        (ours, finished), (theirs, wanted) = run(backend, prompt, params), run(torch_backend, prompt, params)
        assert ids(ours) == ids(theirs)
        assert finished.usage.cached_tokens == wanted.usage.cached_tokens
        assert finished.usage.prefilled_tokens == wanted.usage.prefilled_tokens
        assert backend.info().cached_tokens == torch_backend.info().cached_tokens
    assert backend.info().kept_prefixes == torch_backend.info().kept_prefixes


def test_a_stop_token_ends_it_and_is_delivered(backend: Backend) -> None:
    """The token itself comes. It was run ahead of its reading, and is not cached for that."""
    first, _ = run(backend, PROMPT, GREEDY)
    tokens, finished = run(backend, PROMPT, replace(GREEDY, stop_token_ids=(first[1].id,)))
    assert ids(tokens) == ids(first[:2])
    assert finished.reason == "stop"
    assert backend.info().cached_tokens == len(PROMPT) + 1


def test_cancelling(backend: Backend) -> None:
    """Polled before each chunk and each token; what was run stays cached."""
    asked = count()
    tokens, finished = run(backend, [*PROMPT] * 5, SamplingParams(temperature=0.0), lambda: next(asked) >= 2)
    assert (tokens, finished.reason, backend.info().cached_tokens) == ([], "cancelled", 2 * CHUNK)
    asked = count()
    tokens, finished = run(backend, PROMPT, SamplingParams(temperature=0.0), lambda: next(asked) >= 3)
    assert (len(tokens), finished.reason) == (2, "cancelled")


def test_the_context_is_a_limit(backend: Backend) -> None:
    """A prompt must leave room for a token, and an answer ends where the context does."""
    with pytest.raises(ContextOverflowError):
        backend.generate([1] * CONTEXT, GREEDY, lambda: False)
    tokens, finished = run(backend, [1] * (CONTEXT - 2), SamplingParams(temperature=0.0))
    assert len(tokens) == 2
    assert finished.reason == "context"


def test_ids_outside_the_vocabulary_are_refused(backend: Backend) -> None:
    """Before anything runs: they would read somewhere else."""
    with pytest.raises(EngineError, match="999"):
        backend.generate([1, 999], GREEDY, lambda: False)
    with pytest.raises(EngineError, match="logit_bias"):
        run(backend, PROMPT, SamplingParams(max_tokens=1, logit_bias={999: 1.0}))


def test_scores_are_those_of_the_torch_engine(
    backend: Backend, torch_backend: TorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every position, in any parts; nothing stays cached."""
    monkeypatch.setattr("gptoss_tui.engine.metal.sequence.SCORE_ROWS", 6)
    prompt = PROMPT * 3
    ours, theirs = backend.score(prompt, 2), torch_backend.score(prompt, 2)
    assert [(p.next, [id for id, _ in p.top]) for p in ours] == [(p.next, [id for id, _ in p.top]) for p in theirs]
    assert [p.logprob for p in ours[:-1]] == pytest.approx([p.logprob for p in theirs[:-1]], abs=1e-3)
    assert ours[-1].logprob is None
    assert backend.info().cached_tokens == 0


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=2.0, seed=4, max_tokens=5)])
def test_an_automaton_is_followed(backend: Backend, params: SamplingParams) -> None:
    """One id, one of two, then text: also where the next token was drawn before the state was known."""
    states = [TokenState({}), TokenState({9: 0}, text=True)]
    root = automaton_of([((77, 5), 1), ((77, 6), 1)], states)
    tokens, _ = run(backend, PROMPT, replace(params, constraint=TokenAutomaton(tuple(states), root)))
    assert tokens[0].id == 77
    assert tokens[1].id in (5, 6)
    assert ids(run(backend, PROMPT, params)[0])[0] != 77


def test_a_state_that_changes_is_seen_by_the_next_token(backend: Backend) -> None:
    """The token after the one that changes it was drawn ahead under the state before, and is drawn again."""
    free = ids(run(backend, PROMPT, GREEDY)[0])
    states = (TokenState({free[0]: 1}, text=True), TokenState({77: 2}), TokenState({}, text=True))
    tokens = ids(run(backend, PROMPT, replace(GREEDY, constraint=TokenAutomaton(states)))[0])
    assert tokens[:2] == [free[0], 77]
    assert tokens[2] == ids(run(backend, [*PROMPT, free[0], 77], GREEDY)[0])[0]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_text_is_drawn_once_a_token(backend: Backend, monkeypatch: pytest.MonkeyPatch, temperature: float) -> None:
    """While the state stays, what was drawn ahead holds: logits and a draw for each token, and none in vain."""
    draws, heads = list[int](), list[int]()
    head = backend._decoder.head
    monkeypatch.setattr(backend._decoder, "head", lambda *given: heads.append(1) or head(*given))
    monkeypatch.setattr("gptoss_tui.engine.metal.sampling.Sampler.draw", lambda *given: draws.append(1))
    text = TokenAutomaton((TokenState({299: 1}, text=True), TokenState({})))
    tokens, _ = run(backend, PROMPT, SamplingParams(temperature=temperature, seed=1, max_tokens=6, constraint=text))
    assert len(tokens) == 6
    assert (len(heads), len(draws)) == (6, 0)


def test_the_same_seed_draws_the_same_tokens(backend: Backend) -> None:
    """And the steps of one request differ."""
    params = SamplingParams(temperature=5.0, seed=3, max_tokens=6)
    first, again = run(backend, PROMPT, params)[0], run(backend, PROMPT, params)[0]
    assert ids(first) == ids(again)
    assert len(set(ids(first))) > 1
    assert ids(run(backend, PROMPT, replace(params, seed=4))[0]) != ids(first)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_text_follows_a_grammar(backend: Backend, torch_backend: TorchBackend, temperature: float) -> None:
    """The same tokens as the reference at temperature 0; a grammar that waits pauses the generation."""
    params = SamplingParams(
        temperature=temperature, seed=2, max_tokens=9, stop_token_ids=(CLOSE,), constraint=number_in_brackets()
    )
    tokens = ids(run(backend, PROMPT, params)[0])
    assert is_number_in_brackets(tokens)
    if temperature == 0.0:
        assert tokens == ids(run(torch_backend, PROMPT, params)[0])
    waiting = TokenAutomaton((TokenState({}, text=True, grammar=0),), grammars=(Grammar("patch", ""),))
    paused, finished = run(backend, PROMPT, SamplingParams(max_tokens=3, constraint=waiting))
    assert (paused, finished.reason) == ([], "paused")


def test_what_is_not_a_number_shows(checkpoint: Callable[[str], Path]) -> None:
    """Damaged weights are an error, not a token."""
    import mlx.core as mx

    spec = EngineSpec(checkpoint("uneven"), backend="metal", context=CONTEXT)
    backend = backends.load_backend(spec, lambda step: None)
    backend.model.weights.unembedding[3] = mx.nan
    with pytest.raises(EngineError, match="not a number"):
        run(backend, PROMPT, GREEDY)
    backend.close()
    backend.close()


def test_torch_is_not_imported(checkpoint: Callable[[str], Path]) -> None:
    """A process that loads, draws, filters and scores."""
    script = f"""
import sys
from pathlib import Path
from gptoss_tui.engine.backends import load_backend
from gptoss_tui.engine.types import EngineSpec, SamplingParams
backend = load_backend(EngineSpec(Path({str(checkpoint("uneven"))!r}), backend="metal", context=64), lambda step: None)
list(backend.generate([1, 2, 3], SamplingParams(max_tokens=2, top_p=0.5, top_logprobs=2), lambda: False))
backend.score([1, 2], 2)
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={ON_CPU_VARIABLE: "1"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
