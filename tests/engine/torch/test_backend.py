"""The torch backend on a small random checkpoint: reuse with exact counts, ends, cancelling, scoring, errors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptoss_tui.engine.backend import Backend
from gptoss_tui.engine.backends import load_backend as load_by_name
from gptoss_tui.engine.cache import kv_cache
from gptoss_tui.engine.cache.history import MAX_MARKS
from gptoss_tui.engine.cache.prefix import prefix_digest
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.generation import MIN_CONTEXT
from gptoss_tui.engine.torch.backend import TorchBackend, load_backend
from gptoss_tui.engine.torch.memory import PREFILL_CHUNK
from gptoss_tui.engine.types import (
    Dtype,
    EngineSpec,
    Finished,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    Token,
)
from gptoss_tui.errors import CheckpointError, ContextOverflowError, EngineError
from tests.conformance.shapes import SMALL
from tests.engine.contract import Contract

CONTEXT = 200
GREEDY = SamplingParams(temperature=0.0, max_tokens=8)
CHUNK = 16
PROMPT = [(7 * index) % SMALL.vocab_size for index in range(100)]


def never() -> bool:
    """Nobody cancels."""
    return False


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random checkpoint."""
    path = tmp_path_factory.mktemp("checkpoint")
    random_checkpoint(SMALL, path, seed=3)
    return path


@pytest.fixture(scope="module")
def loaded(directory: Path) -> TorchBackend:
    """It, loaded in float32."""
    return load_backend(EngineSpec(directory, dtype="float32", context=CONTEXT), lambda step: None)


@pytest.fixture
def backend(loaded: TorchBackend) -> TorchBackend:
    """It, with an empty cache and small chunks."""
    return TorchBackend(loaded.model, CONTEXT, "small", chunk=CHUNK)


@pytest.fixture
def reference(loaded: TorchBackend) -> TorchBackend:
    """Another one, whose chunks are longer than a prompt."""
    return TorchBackend(loaded.model, CONTEXT, "reference")


class TestTorch(Contract):
    """The contract, against itself."""


def run(
    backend: Backend, prompt: list[int], params: SamplingParams = GREEDY, cancelled: Callable[[], bool] = never
) -> tuple[list[int], Finished]:
    """The tokens of a generation and how it ended."""
    *events, finished = backend.generate(prompt, params, cancelled)
    assert isinstance(finished, Finished)
    return [event.id for event in events if isinstance(event, Token)], finished


def counts(finished: Finished) -> tuple[int, int, int]:
    """Prompt, cached and prefilled tokens."""
    return finished.usage.prompt_tokens, finished.usage.cached_tokens, finished.usage.prefilled_tokens


def test_greedy_tokens_are_the_arg_max_of_each_step(backend: TorchBackend) -> None:
    """Against running everything again for each token, without a cache."""
    tokens, finished = run(backend, PROMPT)
    history = list(PROMPT)
    for token in tokens:
        fresh = TorchBackend(backend.model, CONTEXT, "fresh")
        assert list(fresh.score(history, top=1))[-1].top[0][0] == token
        history.append(token)
    assert finished.reason == "length"
    assert finished.usage.generated_tokens == len(tokens) == 8


def test_prefill_is_reported_after_every_chunk(backend: TorchBackend) -> None:
    """With what was cached before."""
    run(backend, PROMPT[:40])
    events = backend.generate(PROMPT, GREEDY, never)
    steps = [event for event in events if isinstance(event, PrefillProgress)]
    assert [(step.total, step.done, step.cached) for step in steps] == [(100, done, 40) for done in (56, 72, 88, 100)]


def test_the_common_prefix_is_not_run_again(backend: TorchBackend) -> None:
    """Token by token: a new prompt, the next turn, the same again, an edit near the end and one at the start."""
    tokens, finished = run(backend, PROMPT)
    assert counts(finished) == (100, 0, 100)
    # The last sampled token was never run: 107 are cached.
    assert backend.info().cached_tokens == 107
    turn = [*PROMPT, *tokens, 1, 2, 3]
    assert counts(run(backend, turn)[1]) == (111, 107, 4)
    assert counts(run(backend, turn)[1]) == (111, 110, 1)
    # The sliding buffer has moved on past 105; the state before the first prompt's last token is the nearest.
    assert counts(run(backend, [*turn[:105], 9])[1]) == (106, 99, 7)
    assert counts(run(backend, [9, *turn])[1]) == (112, 0, 112)


def test_a_rewind_past_the_window_runs_from_the_nearest_snapshot(
    backend: TorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sliding layers have lost the keys before the cut; what they give is as if all had been run."""
    monkeypatch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 32)
    run(backend, PROMPT)
    edited = [*PROMPT[:50], *(5 for _ in range(30))]
    tokens, finished = run(backend, edited)
    assert counts(finished) == (80, 32, 48)
    assert tokens == run(TorchBackend(backend.model, CONTEXT, "fresh"), edited)[0]


def test_a_kept_prefix_is_not_run_again_and_gives_the_same_numbers(backend: TorchBackend) -> None:
    """Two beginnings, as of two reasoning efforts, and a conversation that goes from one to the other and back."""
    low, high, talk = [1, *PROMPT[1:41]], [2, *PROMPT[1:41]], PROMPT[41:90]
    keeping = replace(GREEDY, keep_prefix=41)

    def cold(prompt: list[int]) -> list[tuple[int, float]]:
        events = TorchBackend(backend.model, CONTEXT, "cold", chunk=CHUNK).generate(prompt, keeping, never)
        return [(event.id, event.logprob) for event in events if isinstance(event, Token)]

    for prompt, cached in (
        ([*low, *talk], 0),
        ([*high, *talk], 0),
        ([*low, *talk], 41),
        ([*high, *talk, 5], 41),
        ([*high, 5, 6], 41),
    ):
        *events, finished = backend.generate(prompt, keeping, never)
        assert isinstance(finished, Finished)
        assert counts(finished) == (len(prompt), cached, len(prompt) - cached)
        assert [(event.id, event.logprob) for event in events if isinstance(event, Token)] == cold(prompt)
    assert backend.info().kept_prefixes == (prefix_digest(low), prefix_digest(high))


def test_reading_a_prefix_ahead_makes_the_first_prompt_short(backend: TorchBackend) -> None:
    """One token is sampled and not run: nothing of it stays. Scoring forgets the sequence, not the prefix."""
    ahead = SamplingParams(temperature=0.0, max_tokens=1, keep_prefix=40)
    assert counts(run(backend, PROMPT[:40], ahead)[1]) == (40, 0, 40)
    assert backend.info().cached_tokens == 40
    list(backend.score(PROMPT[50:80], top=1))
    assert backend.info().cached_tokens == 0
    assert counts(run(backend, PROMPT)[1]) == (100, 40, 60)


def test_going_back_to_the_end_of_a_prompt_runs_one_token_again(backend: TorchBackend) -> None:
    """A long answer is dropped, or asked for once more: the state before the prompt's last token was kept."""
    run(backend, PROMPT[:60], SamplingParams(temperature=0.0, max_tokens=60))
    tokens, finished = run(backend, [*PROMPT[:60], 4, 5])
    assert counts(finished) == (62, 59, 3)
    assert tokens == run(TorchBackend(backend.model, CONTEXT, "fresh"), [*PROMPT[:60], 4, 5])[0]
    run(backend, PROMPT[:60], SamplingParams(temperature=0.0, max_tokens=60))
    assert counts(run(backend, PROMPT[:60])[1]) == (60, 59, 1)


def test_a_stop_token_is_delivered_and_ends_it(backend: TorchBackend) -> None:
    """And nothing after it."""
    tokens, _ = run(backend, PROMPT)
    stop = tokens[3]
    stopped, finished = run(backend, PROMPT, SamplingParams(temperature=0.0, stop_token_ids=(stop,)))
    assert stopped == tokens[: tokens.index(stop) + 1]
    assert finished.reason == "stop"


def test_the_context_ends_it(backend: TorchBackend) -> None:
    """Prompt and answer fill it to the last token."""
    tokens, finished = run(backend, PROMPT, SamplingParams(temperature=0.0))
    assert len(tokens) == CONTEXT - len(PROMPT)
    assert finished.reason == "context"


def test_a_seed_gives_the_same_answer_from_a_warm_cache(backend: TorchBackend) -> None:
    """Each request draws from a generator of its own."""
    params = SamplingParams(seed=11, max_tokens=12)
    first, _ = run(backend, PROMPT, params)
    assert run(backend, PROMPT, params)[0] == first
    assert run(backend, PROMPT, SamplingParams(seed=12, max_tokens=12))[0] != first


def calls(before_true: int) -> Callable[[], bool]:
    """A `cancelled` that says yes after so many noes."""
    answers: Iterator[bool] = iter([False] * before_true)
    return lambda: next(answers, True)


def test_cancel_stops_before_the_next_chunk(backend: TorchBackend) -> None:
    """What was run stays cached."""
    tokens, finished = run(backend, PROMPT, cancelled=calls(2))
    assert (tokens, finished.reason, finished.usage.generated_tokens) == ([], "cancelled", 0)
    assert counts(finished) == (100, 0, 2 * CHUNK)
    assert counts(run(backend, PROMPT)[1]) == (100, 2 * CHUNK, 100 - 2 * CHUNK)


def test_cancel_stops_before_the_next_token(backend: TorchBackend) -> None:
    """Seven polls for the chunks, then one a token."""
    tokens, finished = run(backend, PROMPT, cancelled=calls(7 + 3))
    assert (len(tokens), finished.reason, finished.usage.generated_tokens) == (3, "cancelled", 3)
    assert tokens == run(backend, PROMPT)[0][:3]


def test_a_cancelled_answer_that_waited_goes_on_at_no_cost(backend: TorchBackend) -> None:
    """But for its last token, which was not run."""
    backend.park_up_to(10**9)
    tokens, _ = run(backend, PROMPT, cancelled=calls(7 + 3))
    assert backend.info().cached_tokens == len(PROMPT) + 2
    run(backend, [9] * 50)
    rest, finished = run(backend, [*PROMPT, *tokens])
    assert finished.usage.cached_tokens == len(PROMPT) + 2
    assert rest[:5] == run(TorchBackend(backend.model, CONTEXT, "fresh"), PROMPT)[0][3:]


def test_an_answer_in_many_slices_keeps_where_the_next_turn_branches(backend: TorchBackend) -> None:
    """More slices than there are marks: a prompt that drops the answer is still known to its end."""
    backend.park_up_to(10**9)
    prompt, other = PROMPT[:40], [3] * 20
    answer: list[int] = []
    for _ in range(MAX_MARKS + 4):
        params = replace(GREEDY, max_tokens=2, drawn=len(answer))
        answer += run(backend, [*prompt, *answer], params)[0]
        run(backend, other, replace(GREEDY, max_tokens=1))
    _, finished = run(backend, [*prompt, 1, 2, 3])
    assert finished.usage.cached_tokens == len(prompt) - 1


def test_a_beginning_without_a_snapshot_is_shared(backend: TorchBackend) -> None:
    """All of it is in the window still, though nobody marked where it ends; whose it was loses nothing."""
    backend.park_up_to(10**9)
    first, second = [*PROMPT[:5], 80, *range(20, 29)], [*PROMPT[:5], 81, *range(40, 49)]
    run(backend, first, replace(GREEDY, max_tokens=1))
    assert run(backend, second)[1].usage.cached_tokens == 5
    assert run(backend, [*first, 3])[1].usage.cached_tokens == len(first)


def test_an_abandoned_generation_leaves_a_sound_cache(backend: TorchBackend) -> None:
    """A closed iterator is as good as a cancel."""
    events = backend.generate(PROMPT, GREEDY, never)
    for event in events:
        if isinstance(event, Token):
            break
    del events
    tokens, _ = run(backend, PROMPT[:90])
    assert tokens == run(TorchBackend(backend.model, CONTEXT, "fresh"), PROMPT[:90])[0]


def test_score_gives_every_position(backend: TorchBackend) -> None:
    """Log-probabilities of a distribution, the next id's among them, in any chunks; nothing stays cached."""
    run(backend, PROMPT)
    scored = list(backend.score(PROMPT, top=SMALL.vocab_size))
    assert backend.info().cached_tokens == 0
    assert [position.next for position in scored] == [*PROMPT[1:], None]
    assert scored[-1].logprob is None
    for position in scored[:-1]:
        assert position.logprob == dict(position.top)[position.next]
        assert sum(torch.tensor([logprob for _, logprob in position.top]).exp()) == pytest.approx(1.0, abs=1e-4)
    whole = list(TorchBackend(backend.model, CONTEXT, "whole").score(PROMPT, top=5))
    for one, other in zip(scored, whole, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4) if one.next is not None else other.next is None


def test_score_takes_what_fills_the_context(backend: TorchBackend) -> None:
    """It needs no room for an answer."""
    assert len(list(backend.score([1] * CONTEXT, top=1))) == CONTEXT


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 1])
def test_a_prompt_that_leaves_no_room_is_refused_before_anything_runs(backend: TorchBackend, length: int) -> None:
    """And the cache is kept."""
    run(backend, PROMPT)
    with pytest.raises(ContextOverflowError, match=f"{length} tokens"):
        backend.generate([1] * length, GREEDY, never)
    assert backend.info().cached_tokens == 107


def test_too_much_to_score_is_refused(backend: TorchBackend) -> None:
    """As for a prompt."""
    with pytest.raises(ContextOverflowError):
        backend.score([1] * (CONTEXT + 1), top=1)


@pytest.mark.parametrize("prompt", [[], [1, SMALL.vocab_size], [-1]])
def test_prompts_that_are_none_are_refused(backend: TorchBackend, prompt: list[int]) -> None:
    """No token, or one that the model does not have."""
    with pytest.raises(EngineError):
        backend.generate(prompt, GREEDY, never)
    with pytest.raises(EngineError):
        backend.score(prompt, top=1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_loading_reports_progress_and_says_what_is_loaded(directory: Path, dtype: Dtype) -> None:
    """Fractions rise with the bytes that are there; sizes are those of the tensors."""
    steps: list[LoadProgress] = []
    backend = load_by_name(EngineSpec(directory, dtype=dtype, threads=torch.get_num_threads()), steps.append)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]
    assert len(steps) > SMALL.num_hidden_layers
    info = backend.info()
    assert steps[-1].info == info
    assert (info.dtype, info.context, info.cached_tokens) == (dtype, SMALL.max_context, 0)
    stored = open_checkpoint(directory).weight_bytes
    # The experts stay packed and the embedding as stored; norm scales are float32 always.
    assert stored < info.weight_bytes < (1.05 if dtype == "bfloat16" else 2.0) * stored


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_both_dtypes_generate(directory: Path, dtype: Dtype) -> None:
    """Prompts longer than one chunk."""
    backend = load_backend(EngineSpec(directory, dtype=dtype), lambda step: None)
    tokens, finished = run(backend, [1] * (PREFILL_CHUNK + 10))
    assert (len(tokens), finished.reason) == (8, "length")


def test_closing_frees_the_memory(directory: Path) -> None:
    """Twice is once."""
    backend = load_backend(EngineSpec(directory), lambda step: None)
    weights = weakref.ref(backend.model.weights.unembedding)
    backend.close()
    backend.close()
    assert weights() is None


@pytest.mark.parametrize("context", [0, 1, MIN_CONTEXT - 1, SMALL.max_context + 1])
def test_a_context_that_the_model_does_not_have_is_refused(directory: Path, context: int) -> None:
    """Before anything is loaded."""
    with pytest.raises(EngineError, match="context"):
        load_backend(EngineSpec(directory, context=context), lambda step: None)


def test_a_directory_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    """With the reader's error."""
    with pytest.raises(CheckpointError):
        load_backend(EngineSpec(tmp_path), lambda step: None)
