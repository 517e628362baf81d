"""Which backend a name gives, and what is settled before it loads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from gptoss_tui.engine.backends import backend_module, backend_names, load_backend
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.native import library
from gptoss_tui.engine.planning import choice, here, memory
from gptoss_tui.engine.planning.here import SMALLEST_CONTEXT, fastest_backend
from gptoss_tui.engine.types import EngineSpec, LoadProgress
from gptoss_tui.errors import CheckpointError, EngineError, MemoryPlanError, UsageError, WrongResultsError
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


GPU, CPU = "gptoss_tui.engine.triton.backend", "gptoss_tui.engine.native.backend"


class Loaded:
    """A backend that was loaded; it is not asked for anything."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec

    def park_up_to(self, nbytes: int, host_nbytes: int = 0) -> None:
        pass


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine with a GPU and this much memory, where loading on the GPU raises `failure`."""

    def become(gpu: int, ram: int, failure: Exception | None = None) -> None:
        def load(spec: EngineSpec, report: object) -> Loaded:
            if spec.backend == "triton" and failure is not None:
                raise failure
            return Loaded(spec)

        monkeypatch.setattr(choice, "has_nvidia_driver", lambda: True)
        monkeypatch.setattr(library, "available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (gpu, gpu))
        for module in (here, memory):
            monkeypatch.setattr(module, "available_memory", lambda: ram)
        for name in (GPU, CPU):
            module = ModuleType(name)
            vars(module)["load_backend"] = load
            monkeypatch.setitem(sys.modules, name, module)

    return become


def loaded_on(spec: EngineSpec) -> tuple[str, str]:
    """The backend that `auto` takes, and what is said at its last step."""
    steps: list[LoadProgress] = []
    backend = load_backend(replace(spec, backend="auto"), steps.append)
    assert isinstance(backend, Loaded)
    return backend.spec.backend, steps[-1].stage


def test_auto_takes_the_cpu_if_the_gpu_is_too_small(spec: EngineSpec, with_gpu: Callable[..., None]) -> None:
    """And says so; who asked for the GPU is told what else there is."""
    with_gpu(gpu=64 << 30, ram=64 << 30)
    assert loaded_on(spec)[0] == "triton"
    with_gpu(gpu=1 << 20, ram=64 << 30)
    backend, said = loaded_on(spec)
    assert (backend, "does not fit the GPU's memory, using the CPU" in said) == ("native", True)
    with pytest.raises(MemoryPlanError, match="nothing was loaded") as caught:
        load_backend(replace(spec, backend="triton"), lambda step: None)
    assert caught.value.hint == "`--backend native` runs it on the CPU"
    with_gpu(gpu=1 << 20, ram=1 << 20)
    with pytest.raises(MemoryPlanError) as caught:
        load_backend(replace(spec, backend="triton"), lambda step: None)
    assert "--backend" not in str(caught.value.hint)
    with pytest.raises(MemoryPlanError, match=r"On the GPU \(triton\): .*\. On the CPU \(native\): "):
        loaded_on(spec)


def test_a_context_that_fits_one_of_them_is_named(spec: EngineSpec, with_gpu: Callable[..., None]) -> None:
    """If the one that was asked for fits neither."""
    with_gpu(gpu=1 << 20, ram=here.plan_at(here.Place("native", 0), TINY, 10**7, 5000, parked=0).total)
    with pytest.raises(MemoryPlanError) as caught:
        loaded_on(replace(spec, context=TINY.max_context, parked_bytes=0))
    assert str(caught.value.hint).startswith("this much context fits: --context ")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (WrongResultsError("This GPU computes nonsense"), "the GPU cannot be used, using the CPU: This GPU computes"),
        (EngineError("The driver is too old"), "the GPU cannot be used, using the CPU: The driver is too old"),
        (
            RuntimeError("ptxas failed\nfor a reason"),
            "the GPU cannot be used, using the CPU: RuntimeError: ptxas failed)",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("tried 2 GiB"), "does not fit the GPU's memory, using the CPU"),
    ],
)
def test_auto_takes_the_cpu_if_the_gpu_fails(
    failure: Exception, said: str, spec: EngineSpec, with_gpu: Callable[..., None]
) -> None:
    """Whatever its driver or compiler raises; who asked for the GPU gets that."""
    with_gpu(gpu=64 << 30, ram=64 << 30, failure=failure)
    backend, step = loaded_on(spec)
    assert (backend, said in step) == ("native", True)
    with pytest.raises(type(failure)):
        load_backend(replace(spec, backend="triton"), lambda step: None)


@pytest.mark.parametrize("failure", [CheckpointError("damaged"), KeyboardInterrupt()])
def test_what_is_no_failure_of_the_gpu_is_raised(
    failure: Exception, spec: EngineSpec, with_gpu: Callable[..., None]
) -> None:
    with_gpu(gpu=64 << 30, ram=64 << 30, failure=failure)
    with pytest.raises(type(failure)):
        loaded_on(spec)


def test_a_gpu_that_fails_and_a_cpu_that_is_too_small_are_both_named(
    spec: EngineSpec, with_gpu: Callable[..., None]
) -> None:
    with_gpu(gpu=64 << 30, ram=1 << 20, failure=WrongResultsError("nonsense"))
    with pytest.raises(MemoryPlanError, match=r"On the GPU \(triton\): nonsense\. On the CPU \(native\): .* needs"):
        loaded_on(spec)
