"""Loads a backend by its name. This is the only place that does."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from gptoss_tui.engine.backend import Backend, ReportProgress
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.metal.device import measured_chip
from gptoss_tui.engine.metal.memory import METAL_NEEDS
from gptoss_tui.engine.native.memory import NATIVE_NEEDS
from gptoss_tui.engine.planning.choice import cpu_backend, fastest_without_metal
from gptoss_tui.engine.planning.machine import available_memory
from gptoss_tui.engine.planning.memory import MemoryPlan, check, plan
from gptoss_tui.engine.torch.memory import TORCH_NEEDS
from gptoss_tui.engine.triton.memory import TRITON_NEEDS
from gptoss_tui.engine.types import EngineSpec, LoadProgress
from gptoss_tui.errors import MemoryPlanError, UsageError, WrongResultsError
from gptoss_tui.units import format_bytes

BACKENDS = {
    "metal": "gptoss_tui.engine.metal.backend",
    "native": "gptoss_tui.engine.native.backend",
    "torch": "gptoss_tui.engine.torch.backend",
    "triton": "gptoss_tui.engine.triton.backend",
}
"""Maps each name to the module whose `load_backend(spec, report)` loads that backend."""

_NEEDS = {"metal": METAL_NEEDS, "native": NATIVE_NEEDS, "torch": TORCH_NEEDS, "triton": TRITON_NEEDS}

PYTHON_BACKENDS_VARIABLE = "GPTOSS_TUI_PYTHON_BACKENDS"
"""If set to 1, `python:package.module` can name a backend outside of this package (for experiments and tests)."""

AUTO = "auto"
"""The name that stands for the fastest backend of this machine."""

EIGHT_BIT = ("native", "triton")
"""Backends that can hold dense layers in 8 bits."""

SMALLEST_CONTEXT = 4096
"""Tokens. A context that the user did not choose is not cut below this: a chat with tools needs about as much."""


def backend_names() -> list[str]:
    """The names that `--backend` accepts besides `auto`, sorted."""
    return sorted(BACKENDS)


def fastest_backend() -> str:
    """The backend that `auto` stands for: the GPU's if its kernels run here, else the CPU's if they were built."""
    from gptoss_tui.engine.metal.device import is_usable

    return "metal" if is_usable() else fastest_without_metal()


def load_backend(spec: EngineSpec, report: ReportProgress) -> Backend:
    """Load the checkpoint of `spec` on the backend that it names, reporting progress.

    The memory plan must fit before anything is allocated; a context that the user did not choose is reduced to what
    fits. Imports torch and other large libraries, so call it only in the worker. Raises UsageError for an unknown name,
    MemoryPlanError, and whatever the backend raises (CheckpointError, EngineError).
    """
    if spec.backend == AUTO:
        return _load_fastest(spec, report)
    if spec.dense == "int8" and spec.backend in BACKENDS and spec.backend not in EIGHT_BIT:
        raise UsageError(
            f"The {spec.backend} engine has no dense layers in 8 bits", hint=f"{' and '.join(EIGHT_BIT)} have"
        )
    return _load(spec, report)


def _load_fastest(spec: EngineSpec, report: ReportProgress) -> Backend:
    """Load on the backend that `auto` stands for, or on the CPU if that one computes wrong results."""
    try:
        return _load(replace(spec, backend=fastest_backend()), report)
    except WrongResultsError as error:
        print(error, file=sys.stderr)
    # Outside the handler: the error keeps the weights that were loaded alive.
    return _load(replace(spec, backend=cpu_backend()), report)


def _load(spec: EngineSpec, report: ReportProgress) -> Backend:
    if spec.backend == "triton":
        spec = replace(spec, device="cuda")
    module = import_module(backend_module(spec.backend))
    if spec.backend not in BACKENDS:
        return cast(Backend, module.load_backend(spec, report))
    spec = replace(spec, checkpoint=_unpacked(spec.checkpoint, report))
    planned = _planned(spec)
    spare = "" if planned.available is None else f" of {format_bytes(planned.available)}"
    needs = f"{format_bytes(planned.total)}{spare} of memory"
    waiting = planned.parked + planned.parked_on_host
    others = f", conversations that wait up to {format_bytes(waiting)}" if waiting else ""
    report(LoadProgress(f"Needs {needs}{others}", 0.0))

    def tell(step: LoadProgress) -> None:
        info = step.info and replace(step.info, parked_limit=waiting)
        report(replace(step, stage=f"{step.stage}, needs {needs}", info=info))

    spec = replace(spec, context=planned.context, parked_bytes=planned.parked)
    backend = cast(Backend, module.load_backend(spec, tell))
    backend.park_up_to(planned.parked, planned.parked_on_host)
    return backend


def _unpacked(model: Path, report: ReportProgress) -> Path:
    from gptoss_tui.engine.nano.expand import unpacked

    return unpacked(model, lambda fraction: report(LoadProgress("Unpacking the built-in model", fraction)))


def _planned(spec: EngineSpec) -> MemoryPlan:
    """Plan the memory for `spec`, with a context that fits. Raises MemoryPlanError."""
    checkpoint = open_checkpoint(spec.checkpoint)
    available = _metal_available() if spec.backend == "metal" else _available(spec.device)
    needs = _NEEDS[spec.backend]

    # The torch engine's full layers are as long as the context; on a GPU, which commits memory at once, none can wait.
    parked = 0 if spec.backend == "torch" and spec.device != "cpu" else spec.parked_bytes
    host = available_memory() if needs.own_memory else None

    def plan_for(context: int | None) -> MemoryPlan:
        return plan(
            *(checkpoint.config, checkpoint.weight_bytes, context, spec.dtype),
            available=available,
            needs=needs,
            parked=parked,
            host=host,
        )

    chosen = plan_for(spec.context)
    if spec.context is None:
        smallest = min(SMALLEST_CONTEXT, checkpoint.config.max_context)
        chosen = chosen if chosen.context >= smallest else plan_for(smallest)
    try:
        check(chosen)
    except MemoryPlanError as error:
        chip = measured_chip() if spec.backend == "metal" else None
        raise MemoryPlanError(error.message, hint=(chip and chip.hint(chosen.total)) or error.hint) from None
    return chosen


def _available(device: str) -> int | None:
    """Free bytes of a GPU with its own memory; None for all other devices, which share the machine's."""
    if not device.startswith("cuda"):
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.mem_get_info(device)[0])


def _metal_available() -> int | None:
    """Free bytes for the GPU of a Mac: it shares the machine's memory, of which macOS lets it use only a part."""
    chip, spare = measured_chip(), available_memory()
    return spare if chip is None or spare is None else min(spare, chip.wired_limit)


def backend_module(name: str) -> str:
    """The module of backend `name`. Raises UsageError for an unknown name.

    A module from outside the package is loaded only if the environment allows it, not because of a settings file.
    """
    if name in BACKENDS:
        return BACKENDS[name]
    if name.startswith("python:") and os.environ.get(PYTHON_BACKENDS_VARIABLE) == "1":
        return name.removeprefix("python:")
    raise UsageError(f"There is no backend {name!r}", hint=f"available: {', '.join(backend_names())}")
