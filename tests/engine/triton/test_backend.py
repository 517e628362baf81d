"""The Triton backend keeps the engine's contract: same tokens as the torch backend, reuse, limits, cancelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, TokenState, automaton_of
from gptoss_tui.engine.torch.backend import TorchBackend
from gptoss_tui.engine.triton import backend as module
from gptoss_tui.engine.triton.backend import TritonBackend, load_backend
from gptoss_tui.engine.types import EngineSpec, Finished, LoadProgress, PrefillProgress, SamplingParams, Token
from gptoss_tui.errors import ContextOverflowError, EngineError
from tests.conformance.runs import float32_model
from tests.engine.grammar.automata import CLOSE, is_number_in_brackets, number_in_brackets
from tests.engine.triton.conftest import FEW, SHALLOW

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

CONTEXT = 64
GREEDY = SamplingParams(temperature=0.0, max_tokens=3)
PROMPT = [5, 17, 100, 3, 60, 8, 44]


@pytest.fixture(scope="module")
def loaded(checkpoint: Callable[[str], Path]) -> Iterator[tuple[TritonBackend, TorchBackend]]:
    """Both backends with a small model, in float32."""
    patch = pytest.MonkeyPatch()
    patch.setattr("gptoss_tui.engine.triton.decode.Blocks", lambda: FEW)
    directory = checkpoint(SHALLOW)
    steps: list[LoadProgress] = []
    spec = EngineSpec(checkpoint=directory, backend="triton", dtype="float32", context=CONTEXT)
    backend = load_backend(spec, steps.append)
    assert steps[-1].done
    assert steps[-1].info == backend.info()
    yield backend, TorchBackend(float32_model(directory), CONTEXT, SHALLOW)
    backend.close()
    patch.undo()


@pytest.fixture
def backend(loaded: tuple[TritonBackend, TorchBackend]) -> TritonBackend:
    """The Triton backend, with nothing cached."""
    loaded[0]._cache.clear()
    return loaded[0]


def run(
    backend: TritonBackend | TorchBackend, prompt: list[int], params: SamplingParams
) -> tuple[list[Token], Finished, list[PrefillProgress]]:
    """A whole generation."""
    events = list(backend.generate(prompt, params, lambda: False))
    tokens = [event for event in events if isinstance(event, Token)]
    progress = [event for event in events if isinstance(event, PrefillProgress)]
    assert isinstance(events[-1], Finished)
    return tokens, events[-1], progress


def test_greedy_tokens_and_logprobs_are_those_of_the_torch_engine(
    backend: TritonBackend, loaded: tuple[TritonBackend, TorchBackend]
) -> None:
    """Chosen on the device, one step ahead of the host."""
    ours, finished, _ = run(backend, PROMPT, GREEDY)
    theirs, _, _ = run(loaded[1], PROMPT, GREEDY)
    assert [token.id for token in ours] == [token.id for token in theirs]
    assert [token.logprob for token in ours] == pytest.approx([token.logprob for token in theirs], abs=1e-4)
    assert finished.reason == "length"
    assert finished.usage.generated_tokens == 3


def test_alternatives_and_filters_go_through_the_host(
    backend: TritonBackend, loaded: tuple[TritonBackend, TorchBackend]
) -> None:
    """Same tokens, with the best alternatives, as the torch engine gives."""
    params = SamplingParams(temperature=0.0, max_tokens=2, top_logprobs=3, top_p=0.9)
    ours, _, _ = run(backend, PROMPT, params)
    theirs, _, _ = run(loaded[1], PROMPT, params)
    assert [[id for id, _ in token.top] for token in ours] == [[id for id, _ in token.top] for token in theirs]
    assert [token.id for token in ours] == [token.id for token in theirs]


def test_the_cached_prefix_is_used_again(backend: TritonBackend, loaded: tuple[TritonBackend, TorchBackend]) -> None:
    """A follow-up prompt costs its new tokens; the answer's tokens are cached too, but for the last one."""
    first, _, _ = run(backend, PROMPT, GREEDY)
    answer = [token.id for token in first]
    ours, finished, progress = run(backend, [*PROMPT, *answer, 9], GREEDY)
    assert progress[0].cached == len(PROMPT) + len(answer) - 1
    assert finished.usage.prefilled_tokens == 2
    theirs, _, _ = run(loaded[1], [*PROMPT, *answer, 9], GREEDY)
    assert [token.id for token in ours] == [token.id for token in theirs]
    assert [token.logprob for token in ours] == pytest.approx([token.logprob for token in theirs], abs=1e-4)


def test_a_stop_token_ends_it_and_is_delivered(backend: TritonBackend) -> None:
    """What the device had begun beyond it is not seen, and not part of the sequence."""
    first, _, _ = run(backend, PROMPT, GREEDY)
    stop = SamplingParams(temperature=0.0, max_tokens=3, stop_token_ids=(first[1].id,))
    tokens, finished, _ = run(backend, PROMPT, stop)
    assert [token.id for token in tokens] == [token.id for token in first[:2]]
    assert finished.reason == "stop"
    assert backend.info().cached_tokens == len(PROMPT) + 1


def test_cancelling_between_tokens(backend: TritonBackend) -> None:
    """Polled before each token."""
    answers = iter([False, False, True])
    events = list(backend.generate(PROMPT, SamplingParams(temperature=0.0), lambda: next(answers)))
    assert sum(isinstance(event, Token) for event in events) == 1
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"


def test_the_context_is_a_limit(backend: TritonBackend) -> None:
    """A prompt must leave room for a token, and an answer ends where the context does."""
    with pytest.raises(ContextOverflowError):
        backend.generate([1] * CONTEXT, GREEDY, lambda: False)
    tokens, finished, _ = run(backend, [1] * (CONTEXT - 2), SamplingParams(temperature=0.0))
    assert len(tokens) == 2
    assert finished.reason == "context"


def test_ids_outside_the_vocabulary_are_refused(backend: TritonBackend) -> None:
    """Before anything runs: on a GPU they would read somewhere else."""
    with pytest.raises(EngineError, match="999"):
        backend.generate([1, 999], GREEDY, lambda: False)
    with pytest.raises(EngineError, match="logit_bias"):
        run(backend, PROMPT, SamplingParams(max_tokens=1, logit_bias={999: 1.0}))


def test_scores_are_those_of_the_torch_engine(
    backend: TritonBackend, loaded: tuple[TritonBackend, TorchBackend]
) -> None:
    """At every position."""
    ours, theirs = backend.score(PROMPT, 2), loaded[1].score(PROMPT, 2)
    assert [(p.next, [id for id, _ in p.top]) for p in ours] == [(p.next, [id for id, _ in p.top]) for p in theirs]
    assert [p.logprob for p in ours[:-1]] == pytest.approx([p.logprob for p in theirs[:-1]], abs=1e-4)
    assert ours[-1].logprob is None


@torch.inference_mode()
def test_drawing_follows_the_distribution(backend: TritonBackend) -> None:
    """Frequencies of the first token against the softmax at temperature 0.7; a forbidden id never comes."""
    state, steps = backend._run(PROMPT, lambda: False)[-1], backend._steps
    logits = steps.first_logits(state).clone()
    forbidden = int(logits.argmax())
    params = SamplingParams(temperature=0.7, logit_bias={forbidden: -1e9})
    wanted = logits.clone()
    wanted[forbidden] = -torch.inf
    shares = (wanted / 0.7).softmax(0)
    draws = 300
    seen: Counter[int] = Counter()
    for seed in range(draws):
        steps._prepare(state, SamplingParams(**{**_fields(params), "seed": seed}), backend._cache.length)
        backend._decoder.state.logits.copy_(logits)
        backend._decoder.choose()
        seen[int(backend._decoder.state.token)] += 1
    assert seen[forbidden] == 0
    # Pearson's statistic over the ids that are expected five times or more; its mean is their number.
    common = [id for id in range(len(shares)) if shares[id] * draws >= 5]
    statistic = sum((seen[id] - draws * float(shares[id])) ** 2 / (draws * float(shares[id])) for id in common)
    assert statistic < 2 * len(common) + 10


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=2.0, seed=4, max_tokens=5)])
def test_the_device_follows_an_automaton(backend: TritonBackend, params: SamplingParams) -> None:
    """One id, one of two, then text until an id that ends it; nothing of it is the model's own choice."""
    states = [TokenState({}), TokenState({9: 0}, text=True)]
    root = automaton_of([((77, 5), 1), ((77, 6), 1)], states)
    automaton = TokenAutomaton(tuple(states), root)
    constrained = SamplingParams(**{**_fields(params), "constraint": automaton})
    assert backend._steps.can_draw(constrained)
    tokens = [token.id for token in run(backend, PROMPT, constrained)[0]]
    assert tokens[0] == 77
    assert tokens[1] in (5, 6)
    assert int(backend._decoder.state.at[0]) in (-1, 1)
    free = [token.id for token in run(backend, PROMPT, params)[0]]
    assert free[0] != 77
    by_host = SamplingParams(**{**_fields(constrained), "top_logprobs": 1})
    if params is GREEDY:
        assert [token.id for token in run(backend, PROMPT, by_host)[0]] == tokens


def _fields(params: SamplingParams) -> dict[str, object]:
    return {name: getattr(params, name) for name in params.__slots__}


def test_the_same_seed_draws_the_same_tokens(backend: TritonBackend) -> None:
    """And the steps of one request differ."""
    params = SamplingParams(temperature=5.0, seed=3, max_tokens=4)
    first, _, _ = run(backend, PROMPT, params)
    again, _, _ = run(backend, PROMPT, params)
    assert [token.id for token in first] == [token.id for token in again]
    assert len({token.id for token in first}) > 1


def test_a_device_that_computes_wrong_is_refused(backend: TritonBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test notices an expert product that is off by a tenth."""
    from gptoss_tui.engine.triton import prefill

    run_experts = prefill.Prefill._experts
    monkeypatch.setattr(prefill.Prefill, "_experts", lambda self, layer, t: run_experts(self, layer, t) * 1.1)
    with pytest.raises(EngineError, match="prefill"):
        backend.check()


def test_without_a_gpu_there_is_a_clear_error(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the backend that works everywhere."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="NVIDIA") as caught:
        load_backend(EngineSpec(checkpoint=checkpoint(SHALLOW), backend="triton"), lambda step: None)
    assert "--backend torch" in (caught.value.hint or "")


def test_text_follows_a_grammar(loaded: tuple[TritonBackend, TorchBackend], backend: TritonBackend) -> None:
    """The device chooses up to where the grammar begins, the host from there on: the reference's tokens."""
    params = SamplingParams(temperature=0.0, max_tokens=9, stop_token_ids=(CLOSE,), constraint=number_in_brackets())
    assert backend._steps.can_draw(params)
    tokens, finished, _ = run(backend, PROMPT, params)
    assert is_number_in_brackets([token.id for token in tokens])
    assert finished.reason == "stop"
    assert [token.id for token in tokens] == [token.id for token in run(loaded[1], PROMPT, params)[0]]
    waiting = TokenAutomaton((TokenState({}, text=True, grammar=0),), grammars=(Grammar("patch", ""),))
    tokens, finished, _ = run(backend, PROMPT, SamplingParams(max_tokens=3, constraint=waiting))
    assert (tokens, finished.reason) == ([], "paused")
