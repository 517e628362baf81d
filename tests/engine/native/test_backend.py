"""The CPU backend keeps the engine's contract, and what is its own: windows, layers, instruction sets, no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from gptoss_tui.engine.native import backend as module
from gptoss_tui.engine.native.backend import NativeBackend, load_backend
from gptoss_tui.engine.native.library import ISA_VARIABLE, available, chosen_set
from gptoss_tui.engine.torch.backend import TorchBackend
from gptoss_tui.engine.types import EngineSpec, Finished, LoadProgress, SamplingParams
from gptoss_tui.errors import EngineError, UsageError
from tests.conformance.runs import float32_model
from tests.engine.contract import GREEDY, PROMPT, Contract, ids, run
from tests.engine.grammar.automata import CLOSE, is_number_in_brackets, number_in_brackets

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

CONTEXT = 64


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
def reference(both: tuple[NativeBackend, TorchBackend]) -> TorchBackend:
    """The reference."""
    return both[1]


class TestNative(Contract):
    """The contract, chosen in the library and in Python."""


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_drawn_text_follows_a_grammar(backend: NativeBackend, temperature: float) -> None:
    """What the library drew against it is drawn again."""
    params = SamplingParams(
        temperature=temperature, seed=2, max_tokens=9, stop_token_ids=(CLOSE,), constraint=number_in_brackets()
    )
    assert is_number_in_brackets(ids(run(backend, PROMPT, params)[0]))


@pytest.mark.parametrize("cut", [3, 20, 31])
def test_going_back_behind_the_window(backend: NativeBackend, reference: TorchBackend, cut: int) -> None:
    """The window is 8 tokens: what was forgotten of it is made again, or comes from the mark at the prompt's end."""
    long = [(7 * n) % 300 for n in range(40)]
    backend._chunk, before = 5, backend._chunk
    run(backend, long, GREEDY)
    branch = [*long[:cut], 250, 251]
    ours, _, _ = run(backend, branch, GREEDY)
    backend._chunk = before
    assert ids(ours) == ids(run(reference, branch, GREEDY)[0])


def test_cancelling_between_layers(backend: NativeBackend, reference: TorchBackend) -> None:
    """Nothing of the chunk counts, and the next prompt is not disturbed by what it left."""
    asked = count()
    events = list(backend.generate(PROMPT, GREEDY, lambda: next(asked) == 2))
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "cancelled"
    assert len(events) == 1
    assert next(asked) == 3
    assert backend.info().cached_tokens == 0
    assert ids(run(backend, PROMPT, GREEDY)[0]) == ids(run(reference, PROMPT, GREEDY)[0])


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
list(backend.score([1, 2], 2))
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
