"""The CPU backend keeps the engine's contract: same tokens as the torch backend, reuse, limits, cancelling."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, TokenState, automaton_of
from gptoss_tui.engine.native import backend as module
from gptoss_tui.engine.native.backend import NativeBackend, load_backend
from gptoss_tui.engine.native.library import ISA_VARIABLE, available, chosen_set
from gptoss_tui.engine.torch.backend import TorchBackend
from gptoss_tui.engine.types import EngineSpec, Finished, LoadProgress, PrefillProgress, SamplingParams, Token
from gptoss_tui.errors import ContextOverflowError, EngineError, UsageError
from tests.conformance.runs import float32_model
from tests.engine.grammar.automata import CLOSE, is_number_in_brackets, number_in_brackets

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

CONTEXT = 64
GREEDY = SamplingParams(temperature=0.0, max_tokens=4)
PROMPT = [5, 17, 100, 3, 60, 8, 44]


@pytest.fixture(scope="module")
def both(checkpoint: Callable[[str], Path]) -> Iterator[tuple[NativeBackend, TorchBackend]]:
    """Both backends with the small model, in float32."""
    directory = checkpoint("small")
    steps: list[LoadProgress] = []
    spec = EngineSpec(directory, backend="native", dtype="float32", context=CONTEXT)
    backend = load_backend(spec, steps.append)
    assert steps[-1].done
    assert steps[-1].info == backend.info()
    yield backend, TorchBackend(float32_model(directory), CONTEXT, "small")
    backend.close()


@pytest.fixture
def backend(both: tuple[NativeBackend, TorchBackend]) -> NativeBackend:
    """The CPU backend, with nothing cached."""
    both[0]._cache.clear()
    return both[0]


@pytest.fixture
def torch_backend(both: tuple[NativeBackend, TorchBackend]) -> TorchBackend:
    """The reference."""
    return both[1]


def run(
    backend: NativeBackend | TorchBackend, prompt: list[int], params: SamplingParams
) -> tuple[list[Token], Finished, list[PrefillProgress]]:
    """A whole generation."""
    events = list(backend.generate(prompt, params, lambda: False))
    tokens = [event for event in events if isinstance(event, Token)]
    progress = [event for event in events if isinstance(event, PrefillProgress)]
    assert isinstance(events[-1], Finished)
    return tokens, events[-1], progress


def ids(tokens: list[Token]) -> list[int]:
    return [token.id for token in tokens]


@pytest.mark.parametrize("extra", [{}, {"top_logprobs": 3}, {"logit_bias": {7: 3.0}}, {"top_p": 0.5, "top_k": 9}])
def test_greedy_tokens_and_logprobs_are_those_of_the_torch_engine(
    backend: NativeBackend, torch_backend: TorchBackend, extra: dict[str, object]
) -> None:
    """Chosen in the library, and in Python where it takes more."""
    params = replace(GREEDY, **extra)  # type: ignore[arg-type]
    ours, finished, _ = run(backend, PROMPT, params)
    theirs, _, _ = run(torch_backend, PROMPT, params)
    assert ids(ours) == ids(theirs)
    assert [token.logprob for token in ours] == pytest.approx([token.logprob for token in theirs], abs=1e-3)
    assert [[id for id, _ in token.top] for token in ours] == [[id for id, _ in token.top] for token in theirs]
    assert finished.reason == "length"
    assert finished.usage.generated_tokens == 4


def test_the_cached_prefix_is_used_again(backend: NativeBackend, torch_backend: TorchBackend) -> None:
    """A follow-up prompt costs its new tokens; the answer's tokens are cached too, but for the last one."""
    answer = ids(run(backend, PROMPT, GREEDY)[0])
    ours, finished, progress = run(backend, [*PROMPT, *answer, 9], GREEDY)
    assert progress[0].cached == len(PROMPT) + len(answer) - 1
    assert finished.usage.prefilled_tokens == 2
    assert ids(ours) == ids(run(torch_backend, [*PROMPT, *answer, 9], GREEDY)[0])


@pytest.mark.parametrize("cut", [3, 20, 31])
def test_going_back_behind_the_window(backend: NativeBackend, torch_backend: TorchBackend, cut: int) -> None:
    """The window is 8 tokens: what was forgotten of it is made again, or comes from the mark at the prompt's end."""
    long = [(7 * n) % 300 for n in range(40)]
    backend._chunk, before = 5, backend._chunk
    run(backend, long, GREEDY)
    branch = [*long[:cut], 250, 251]
    ours, _, _ = run(backend, branch, GREEDY)
    backend._chunk = before
    assert ids(ours) == ids(run(torch_backend, branch, GREEDY)[0])


def test_a_kept_prefix_comes_back(backend: NativeBackend, torch_backend: TorchBackend) -> None:
    """After another conversation took its place."""
    keep = replace(GREEDY, keep_prefix=5)
    run(backend, PROMPT, keep)
    assert len(backend.info().kept_prefixes) == 1
    run(backend, [200 + n for n in range(30)], GREEDY)
    ours, finished, _ = run(backend, [*PROMPT[:5], 90, 91], keep)
    assert finished.usage.cached_tokens == 5
    assert ids(ours) == ids(run(torch_backend, [*PROMPT[:5], 90, 91], GREEDY)[0])


def test_a_stop_token_ends_it_and_is_delivered(backend: NativeBackend) -> None:
    """The token itself comes, and is not cached."""
    first, _, _ = run(backend, PROMPT, GREEDY)
    tokens, finished, _ = run(backend, PROMPT, replace(GREEDY, stop_token_ids=(first[1].id,)))
    assert ids(tokens) == ids(first[:2])
    assert finished.reason == "stop"
    assert backend.info().cached_tokens == len(PROMPT) + 1


def test_cancelling_between_tokens(backend: NativeBackend) -> None:
    """Polled before each token, and between the layers of a chunk."""
    asked = count()
    layers = backend.model.config.num_hidden_layers
    events = list(backend.generate(PROMPT, SamplingParams(temperature=0.0), lambda: next(asked) >= layers + 1))
    assert sum(isinstance(event, Token) for event in events) == 1
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"


def test_cancelling_between_layers(backend: NativeBackend, torch_backend: TorchBackend) -> None:
    """Nothing of the chunk counts, and the next prompt is not disturbed by what it left."""
    asked = count()
    events = list(backend.generate(PROMPT, GREEDY, lambda: next(asked) == 2))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
    assert len(events) == 1
    assert next(asked) == 3
    assert backend.info().cached_tokens == 0
    assert ids(run(backend, PROMPT, GREEDY)[0]) == ids(run(torch_backend, PROMPT, GREEDY)[0])


def test_the_context_is_a_limit(backend: NativeBackend) -> None:
    """A prompt must leave room for a token, and an answer ends where the context does."""
    with pytest.raises(ContextOverflowError):
        backend.generate([1] * CONTEXT, GREEDY, lambda: False)
    tokens, finished, _ = run(backend, [1] * (CONTEXT - 2), SamplingParams(temperature=0.0))
    assert len(tokens) == 2
    assert finished.reason == "context"


def test_ids_outside_the_vocabulary_are_refused(backend: NativeBackend) -> None:
    """Before anything runs: they would read somewhere else."""
    with pytest.raises(EngineError, match="999"):
        backend.generate([1, 999], GREEDY, lambda: False)
    with pytest.raises(EngineError, match="logit_bias"):
        run(backend, PROMPT, SamplingParams(max_tokens=1, logit_bias={999: 1.0}))


def test_scores_are_those_of_the_torch_engine(backend: NativeBackend, torch_backend: TorchBackend) -> None:
    """At every position."""
    ours, theirs = backend.score(PROMPT, 2), torch_backend.score(PROMPT, 2)
    assert [(p.next, [id for id, _ in p.top]) for p in ours] == [(p.next, [id for id, _ in p.top]) for p in theirs]
    assert [p.logprob for p in ours[:-1]] == pytest.approx([p.logprob for p in theirs[:-1]], abs=1e-3)
    assert ours[-1].logprob is None


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=2.0, seed=4, max_tokens=5)])
def test_an_automaton_is_followed(backend: NativeBackend, params: SamplingParams) -> None:
    """One id, one of two, then text until an id that ends it; nothing of it is the model's own choice."""
    states = [TokenState({}), TokenState({9: 0}, text=True)]
    root = automaton_of([((77, 5), 1), ((77, 6), 1)], states)
    tokens, _, _ = run(backend, PROMPT, replace(params, constraint=TokenAutomaton(tuple(states), root)))
    assert tokens[0].id == 77
    assert tokens[1].id in (5, 6)
    assert ids(run(backend, PROMPT, params)[0])[0] != 77


def test_the_same_seed_draws_the_same_tokens(backend: NativeBackend) -> None:
    """And the steps of one request differ."""
    params = SamplingParams(temperature=5.0, seed=3, max_tokens=4)
    first, again = run(backend, PROMPT, params)[0], run(backend, PROMPT, params)[0]
    assert ids(first) == ids(again)
    assert len(set(ids(first))) > 1


def test_an_instruction_set_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With those that are."""
    monkeypatch.setenv(ISA_VARIABLE, "altivec")
    with pytest.raises(UsageError, match="altivec") as caught:
        chosen_set()
    assert "scalar" in (caught.value.hint or "")


def test_without_the_library_there_is_a_clear_error(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names the backend that works everywhere."""
    monkeypatch.setattr("gptoss_tui.engine.native.library.LIBRARY", tmp_path / "missing.so")
    module.load_library.cache_clear()
    try:
        with pytest.raises(EngineError, match="not built") as caught:
            load_backend(EngineSpec(checkpoint("small"), backend="native"), lambda step: None)
        assert "--backend torch" in (caught.value.hint or "")
        assert not available()
    finally:
        monkeypatch.undo()
        module.load_library.cache_clear()


def test_torch_is_never_imported(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """A process that repacks, and one that maps the cache; they run a prompt, draw, filter and score."""
    script = f"""
import sys
from pathlib import Path
from gptoss_tui.engine.native import weights
from gptoss_tui.engine.backends import load_backend
from gptoss_tui.engine.types import EngineSpec, SamplingParams
import gptoss_tui.engine.worker.process
weights.SMALLEST_KEPT = 0
backend = load_backend(EngineSpec(Path({str(checkpoint("small"))!r}), backend="native", context=64), lambda step: None)
list(backend.generate([1, 2, 3], SamplingParams(max_tokens=2, top_p=0.5, top_logprobs=2), lambda: False))
backend.score([1, 2], 2)
backend.close()
print("torch" in sys.modules)
"""
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["False", "False"]
    assert len(list(tmp_path.rglob("*.bin"))) == 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_text_follows_a_grammar(backend: NativeBackend, torch_backend: TorchBackend, temperature: float) -> None:
    """The same tokens as the reference at temperature 0; a grammar that waits pauses the generation."""
    params = SamplingParams(
        temperature=temperature, seed=2, max_tokens=9, stop_token_ids=(CLOSE,), constraint=number_in_brackets()
    )
    tokens = [token.id for token in run(backend, PROMPT, params)[0]]
    assert is_number_in_brackets(tokens)
    if temperature == 0.0:
        assert tokens == [token.id for token in run(torch_backend, PROMPT, params)[0]]
    waiting = TokenAutomaton((TokenState({}, text=True, grammar=0),), grammars=(Grammar("patch", ""),))
    tokens, finished, _ = run(backend, PROMPT, SamplingParams(max_tokens=3, constraint=waiting))
    assert (tokens, finished.reason) == ([], "paused")
