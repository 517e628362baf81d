"""Which backend a name gives, and what is settled before it loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptoss_tui.engine.backends import SMALLEST_CONTEXT, backend_module, backend_names, fastest_backend, load_backend
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.native import library
from gptoss_tui.engine.planning import choice, memory
from gptoss_tui.engine.types import EngineSpec, LoadProgress
from gptoss_tui.errors import MemoryPlanError, UsageError
from gptoss_tui.units import format_bytes
from tests.engine.shapes import TINY


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    directory = tmp_path_factory.mktemp("models") / "tiny"
    random_checkpoint(TINY, directory)
    return EngineSpec(directory)


def needed(spec: EngineSpec, context: int) -> int:
    return memory.plan(TINY, open_checkpoint(spec.checkpoint).weight_bytes, context, spec.dtype, available=0).total


def context_of(spec: EngineSpec) -> tuple[int, list[LoadProgress]]:
    steps: list[LoadProgress] = []
    backend = load_backend(spec, steps.append)
    context = backend.info().context
    backend.close()
    return context, steps


def test_names_of_backends() -> None:
    assert "torch" in backend_names()
    for name in backend_names():
        assert backend_module(name).startswith("gptoss_tui.engine.")


@pytest.mark.parametrize("name", ["", "Torch", "python:os", "gptoss_tui.engine.torch.backend"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no backend") as caught:
        backend_module(name)
    assert caught.value.hint == f"available: {', '.join(backend_names())}"


def test_eight_bits_are_for_engines_that_have_them(tmp_path: Path) -> None:
    """Nobody asks for them and silently gets something else."""
    with pytest.raises(UsageError, match="no dense layers in 8 bits") as caught:
        load_backend(EngineSpec(tmp_path, backend="torch", dense="int8"), lambda step: None)
    assert caught.value.hint == "native and triton have"


@pytest.mark.parametrize(
    ("found", "capability", "name"), [(False, (0, 0), "native"), (True, (7, 5), "native"), (True, (8, 6), "triton")]
)
def test_auto_takes_the_gpu_where_there_is_one_that_will_do(
    found: bool, capability: tuple[int, int], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(library, "available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert fastest_backend() == name


def test_auto_is_torch_where_the_kernels_were_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(library, "available", lambda: False)
    assert fastest_backend() == "torch"


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_auto_loads_a_cpu_backend_without_a_gpu(spec: EngineSpec) -> None:
    backend = load_backend(replace(spec, backend="auto"), lambda step: None)
    assert backend.info().backend == ("native" if library.available() else "torch")
    backend.close()


def test_the_plan_is_shown_before_anything_is_loaded(spec: EngineSpec) -> None:
    context, steps = context_of(spec)
    assert context == TINY.max_context
    assert steps[0].stage.startswith("Needs ")
    assert steps[0].fraction == 0.0
    needs, waiting = steps[0].stage.removeprefix("Needs ").split(", conversations that wait up to ")
    assert all(step.stage.endswith(f", needs {needs}") for step in steps[1:]), "a step is seen for a moment only"
    assert steps[-1].info is not None
    assert format_bytes(steps[-1].info.parked_limit) == waiting


def test_a_context_that_nobody_asked_for_is_cut_to_what_fits(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: needed(spec, 3 * SMALLEST_CONTEXT))
    context, _ = context_of(replace(spec, parked_bytes=0))
    assert 3 * SMALLEST_CONTEXT <= context < TINY.max_context
    shared, steps = context_of(spec)
    assert SMALLEST_CONTEXT <= shared < context
    assert steps[-1].info is not None
    assert steps[-1].info.parked_limit > 0, "conversations that wait have room beside it"
    with pytest.raises(MemoryPlanError, match="nothing was loaded") as caught:
        context_of(replace(spec, context=TINY.max_context))
    assert caught.value.hint == f"this much context fits: --context {context}"


def test_it_is_not_cut_to_a_useless_one(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: needed(spec, SMALLEST_CONTEXT // 2))
    with pytest.raises(MemoryPlanError) as caught:
        context_of(spec)
    assert "--context" in str(caught.value.hint)
    assert context_of(replace(spec, context=100))[0] == 100


def test_weights_that_do_not_fit_are_refused(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    with pytest.raises(MemoryPlanError, match="nothing was loaded"):
        context_of(spec)
