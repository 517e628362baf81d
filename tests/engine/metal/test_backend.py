"""The Metal backend keeps the engine's contract, and what is its own: draws ahead, reuse count by count, no torch."""

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
from gptoss_tui.engine.constraint import TokenAutomaton, TokenState
from gptoss_tui.engine.metal.device import ON_CPU_VARIABLE
from gptoss_tui.engine.metal.failures import engine_error
from gptoss_tui.engine.torch.backend import TorchBackend
from gptoss_tui.engine.types import EngineSpec, Finished, LoadProgress, SamplingParams, Token
from gptoss_tui.errors import EngineError
from tests.conformance.runs import float32_model
from tests.engine.contract import GREEDY, PROMPT, Contract, ids, run
from tests.engine.grammar.automata import CLOSE, is_number_in_brackets, number_in_brackets
from tests.engine.metal.conftest import ON_CPU

CONTEXT = 64
CHUNK = 16


@pytest.fixture(scope="module")
def both(checkpoint: Callable[[str], Path]) -> Iterator[tuple[Backend, TorchBackend]]:
    """Both backends with the small model, in float32."""
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    directory, steps = checkpoint("small"), list[LoadProgress]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ON_CPU_VARIABLE, ON_CPU)
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
def reference(both: tuple[Backend, TorchBackend]) -> TorchBackend:
    """The reference, with nothing cached."""
    both[1]._cache.clear()
    return both[1]


class TestMetal(Contract):
    """The contract, on MLX's kernels for CPUs."""


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_drawn_text_follows_a_grammar(backend: Backend, temperature: float) -> None:
    """Each token is drawn under the mask of its own place."""
    params = SamplingParams(
        temperature=temperature, seed=2, max_tokens=9, stop_token_ids=(CLOSE,), constraint=number_in_brackets()
    )
    assert is_number_in_brackets(ids(run(backend, PROMPT, params)[0]))


def test_reuse_is_that_of_the_torch_engine(backend: Backend, reference: TorchBackend) -> None:
    """Count by count: a turn, the next one, the same again, back behind the window, another beginning and back."""
    long = [(7 * n) % 300 for n in range(40)]
    keep = replace(GREEDY, keep_prefix=5)
    answer = ids(run(reference, long, GREEDY)[0])
    prompts = [(long, keep), ([*long, *answer, 9], GREEDY), (long, GREEDY), ([*long[:12], 250], GREEDY)]
    prompts += [([200 + n for n in range(30)], keep), ([*long[:5], 90, 91], keep)]
    reference._cache.clear()
    for prompt, params in prompts:
        (ours, finished, _), (theirs, wanted, _) = run(backend, prompt, params), run(reference, prompt, params)
        assert ids(ours) == ids(theirs)
        assert finished.usage.cached_tokens == wanted.usage.cached_tokens
        assert finished.usage.prefilled_tokens == wanted.usage.prefilled_tokens
        assert backend.info().cached_tokens == reference.info().cached_tokens
    assert backend.info().kept_prefixes == reference.info().kept_prefixes


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_cancelling_within_a_chunk(backend: Backend, layers: int) -> None:
    """After any layer of the third chunk: what was run before it stays cached, and the prompt can come again."""
    asked, polls = count(), 1 + backend.config.num_hidden_layers
    *_, finished = backend.generate(PROMPT * 5, GREEDY, lambda: next(asked) > 2 * polls + layers)
    assert isinstance(finished, Finished)
    assert (finished.reason, backend.info().cached_tokens) == ("cancelled", 2 * CHUNK)
    again = ids(run(backend, PROMPT * 5, GREEDY)[0])
    backend._cache.clear()
    assert ids(run(backend, PROMPT * 5, GREEDY)[0]) == again


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_running_out_of_memory_is_said_and_survived(
    calls: int, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a prompt or at a token. MLX's own words are kept, and the next request is answered as if it were the first,
    though what the GPU still had to do has failed too, which MLX says to who waits next."""
    import mlx.core as mx

    answer, embed, asked = ids(run(backend, PROMPT, GREEDY)[0]), backend.model.embed, count()
    unsaid, synchronize = list[str](), mx.synchronize

    def failing(given: mx.array) -> mx.array:
        if next(asked) == calls:
            backend._cache.layers = [mx.full(layer.shape, mx.nan) for layer in backend._cache.layers]
            unsaid.append("[METAL] Command buffer execution failed: Ignored (for causing prior/excessive GPU errors).")
            raise RuntimeError("[malloc] Unable to allocate 99 bytes.")
        return embed(given)

    def waiting() -> None:
        synchronize()
        if unsaid:
            raise RuntimeError(unsaid.pop())

    monkeypatch.setattr(mx, "synchronize", waiting)
    monkeypatch.setattr(backend.model, "embed", failing)
    with pytest.raises(EngineError, match=r"ran out of memory .*99 bytes") as caught:
        list(backend.generate([*PROMPT, 9, 9], GREEDY, lambda: False))
    assert "smaller context" in str(caught.value.hint)
    monkeypatch.setattr(backend.model, "embed", embed)
    tokens, finished, _ = run(backend, PROMPT, GREEDY)
    assert (ids(tokens), finished.usage.cached_tokens) == (answer, 0)


@pytest.mark.parametrize(
    "text",
    [
        "[metal::malloc] Attempting to allocate 9 bytes which is greater than the maximum allowed buffer size of 8.",
        "[malloc] Unable to allocate 99 bytes.",
        "[metal::malloc] Resource limit (499000) exceeded.",
        "[METAL] Command buffer execution failed: Insufficient Memory "
        "(00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory).",
    ],
)
def test_the_words_of_the_gpu_are_known(text: str) -> None:
    """Those of MLX's allocator, and of Metal's driver through MLX; others are an error of the GPU."""
    assert "ran out of memory" in engine_error(RuntimeError(text)).message
    other = "[METAL] Command buffer execution failed: Caused GPU Hang Error (00000003:kIOGPUCommandBuffer...Hang)."
    assert engine_error(RuntimeError(other)).message == f"The GPU failed ({other})"


def test_a_kernel_that_the_device_does_not_take_is_an_error_of_the_gpu(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLX raises ValueError for it, at the first token: no fault of the program's, and survived."""
    answer, head = ids(run(backend, PROMPT, GREEDY)[0]), backend._decoder.head

    def refused(*given: object) -> None:
        raise ValueError("Thread group size (256) is greater than  the maximum allowed threads per threadgroup (128).")

    monkeypatch.setattr(backend._decoder, "head", refused)
    with pytest.raises(EngineError, match=r"The GPU failed .Thread group size"):
        list(backend.generate(PROMPT, GREEDY, lambda: False))
    monkeypatch.setattr(backend._decoder, "head", head)
    assert ids(run(backend, PROMPT, GREEDY)[0]) == answer


def test_scores_in_parts_are_the_same(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of a few positions at a time, across chunks."""
    whole = list(backend.score(PROMPT * 3, 2))
    monkeypatch.setattr("gptoss_tui.engine.metal.sequence.SCORE_ROWS", 6)
    parts = list(backend.score(PROMPT * 3, 2))
    assert [position.next for position in parts] == [position.next for position in whole]
    assert [position.logprob for position in parts[:-1]] == pytest.approx([p.logprob for p in whole[:-1]], abs=1e-4)


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
    tokens, _, _ = run(backend, PROMPT, SamplingParams(temperature=temperature, seed=1, max_tokens=6, constraint=text))
    assert len(tokens) == 6
    assert (len(heads), len(draws)) == (6, 0)


@pytest.mark.parametrize("constraint", [None, "grammar"])
def test_a_step_begins_when_the_one_before_is_done(
    constraint: str | None, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made before that, which takes time. If it began, MLX would copy the cache that the other one reads."""
    from gptoss_tui.engine.metal.sampling import Drawn
    from gptoss_tui.engine.metal.sequence import Step

    order, begin, read, made = list[str](), Step.begin, Drawn.read, Step.__init__
    monkeypatch.setattr(Step, "__init__", lambda *given: order.append("make") or made(*given))
    monkeypatch.setattr(Step, "begin", lambda step: order.append("begin") or begin(step))
    monkeypatch.setattr(Drawn, "read", lambda drawn: order.append("read") or read(drawn))
    rules = number_in_brackets() if constraint else None
    params = SamplingParams(temperature=0.0, max_tokens=3, constraint=rules, stop_token_ids=(CLOSE,))
    generated = backend.generate(PROMPT, params, lambda: False)
    for event in generated:
        order.append("token") if isinstance(event, Token) else None
    again = ["begin"] if constraint else []  # what the grammar allows is known when the token is
    step = ["make", "read", "begin", "token", *again]
    assert order[: 2 + 2 * len(step)] == ["make", "begin", *step, *step]


def test_a_prompt_waits_for_a_step_that_nobody_wants(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was under way when its answer ended: it still reads the cache."""
    import mlx.core as mx

    answer = backend.generate(PROMPT, GREEDY, lambda: False)
    assert any(isinstance(event, Token) for event in answer)
    order, wait, reserve = list[str](), mx.synchronize, backend._cache.reserve
    monkeypatch.setattr(mx, "synchronize", lambda: order.append("wait") or wait())
    monkeypatch.setattr(backend._cache, "reserve", lambda tokens: order.append("write") or reserve(tokens))
    run(backend, [*PROMPT, 9], replace(GREEDY, max_tokens=1))
    assert order == ["wait", "write"]


def test_what_is_not_a_number_shows(checkpoint: Callable[[str], Path]) -> None:
    """Damaged weights are an error, not a token."""
    import mlx.core as mx

    spec = EngineSpec(checkpoint("uneven"), backend="metal", context=CONTEXT)
    backend = backends.load_backend(spec, lambda step: None)
    backend.model.weights.unembedding[3] = mx.nan
    with pytest.raises(EngineError, match="NaN or infinite"):
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
list(backend.score([1, 2], 2))
print("torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={ON_CPU_VARIABLE: ON_CPU}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
