"""Loads a backend by its name. This is the only place that does."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from gptoss_tui.engine.backend import Backend, ReportProgress
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.metal.device import measured_chip
from gptoss_tui.engine.planning.choice import cpu_backend
from gptoss_tui.engine.planning.here import AUTO, ON_GPU, TOO_SMALL, Place, fastest_backend, free_memory, plan_at
from gptoss_tui.engine.planning.memory import MemoryPlan, check
from gptoss_tui.engine.types import EngineSpec, LoadProgress
from gptoss_tui.errors import EngineError, GptOssError, MemoryPlanError, UsageError
from gptoss_tui.units import format_bytes

BACKENDS = {
    "metal": "gptoss_tui.engine.metal.backend",
    "native": "gptoss_tui.engine.native.backend",
    "torch": "gptoss_tui.engine.torch.backend",
    "triton": "gptoss_tui.engine.triton.backend",
}
"""Maps each name to the module whose `load_backend(spec, report)` loads that backend."""

PYTHON_BACKENDS_VARIABLE = "GPTOSS_TUI_PYTHON_BACKENDS"
"""If set to 1, `python:package.module` can name a backend outside of this package (for experiments and tests)."""

EIGHT_BIT = ("native", "triton")
"""Backends that can hold dense layers in 8 bits."""


def backend_names() -> list[str]:
    """The names that `--backend` accepts besides `auto`, sorted."""
    return sorted(BACKENDS)


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
    """Load on the backend that `auto` stands for, or on the CPU if the GPU's cannot load this model."""
    fastest = fastest_backend()
    if fastest not in ON_GPU:
        return _load(replace(spec, backend=fastest), report)
    try:
        return _load(replace(spec, backend=fastest), report)
    except Exception as error:  # drivers and compilers raise their own
        failed = _failure(error)
    # Outside the handler: the error keeps the weights that were loaded alive.
    note = (
        TOO_SMALL if isinstance(failed, MemoryPlanError) else f"the GPU cannot be used, using the CPU: {failed.message}"
    )
    print(note, file=sys.stderr)
    report(LoadProgress(note[0].upper() + note[1:], 0.0))
    cpu = cpu_backend()
    try:
        return _load(replace(spec, backend=cpu), report, note)
    except (EngineError, MemoryPlanError) as error:
        raise _neither(fastest, failed, cpu, error) from None


def _failure(error: Exception) -> GptOssError:
    """What `error`, raised while a GPU's backend was loading, means for users, without what its traceback holds.

    Raises it again if the CPU's backend could not do better, as with a damaged checkpoint.
    """
    if isinstance(error, (EngineError, MemoryPlanError)):
        return type(error)(error.message, hint=error.hint)
    if isinstance(error, GptOssError):
        raise error
    traceback.print_exception(error)
    if type(error).__name__ == "OutOfMemoryError":
        return MemoryPlanError("The GPU ran out of memory while the model was loaded")
    lines = str(error).strip().splitlines()
    return EngineError(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def _neither(gpu: str, first: GptOssError, cpu: str, second: GptOssError) -> GptOssError:
    """The error if neither backend can load the model; its hint is one that helps, if there is any."""
    if first.message == second.message:
        return second
    hints = [hint for hint in (second.hint, first.hint) if hint and "--context" in hint]
    message = f"On the GPU ({gpu}): {first.message}. On the CPU ({cpu}): {second.message}"
    return type(second)(message, hint=hints[0] if hints else second.hint)


def _load(spec: EngineSpec, report: ReportProgress, note: str = "") -> Backend:
    """Load on the backend that `spec` names. All steps show the `note`, since each is seen for a moment only."""
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
    tail = f" ({note})" if note else ""
    report(LoadProgress(f"Needs {needs}{others}{tail}", 0.0))

    def tell(step: LoadProgress) -> None:
        info = step.info and replace(step.info, parked_limit=waiting)
        report(replace(step, stage=f"{step.stage}, needs {needs}{tail}", info=info))

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
    # The torch engine's full layers are as long as the context; on a GPU, which commits memory at once, none can wait.
    parked = 0 if spec.backend == "torch" and spec.device != "cpu" else spec.parked_bytes

    def plan_on(place: Place) -> MemoryPlan:
        return plan_at(place, checkpoint.config, checkpoint.weight_bytes, spec.context, spec.dtype, parked=parked)

    chosen = plan_on(Place(spec.backend, free_memory(spec.backend, spec.device)))
    try:
        check(chosen)
    except MemoryPlanError as error:
        if spec.backend not in ON_GPU:
            raise
        chip = measured_chip() if spec.backend == "metal" else None
        hint, cpu = (chip and chip.hint(chosen.total)) or error.hint, cpu_backend()
        if plan_on(Place(cpu)).fits:
            instead = f"`--backend {cpu}` runs it on the CPU"
            hint = f"{hint}; {instead}" if hint and (chosen.largest_context or hint != error.hint) else instead
        raise MemoryPlanError(error.message, hint=hint) from None
    return chosen


def backend_module(name: str) -> str:
    """The module of backend `name`. Raises UsageError for an unknown name.

    A module from outside the package is loaded only if the environment allows it, not because of a settings file.
    """
    if name in BACKENDS:
        return BACKENDS[name]
    if name.startswith("python:") and os.environ.get(PYTHON_BACKENDS_VARIABLE) == "1":
        return name.removeprefix("python:")
    raise UsageError(f"There is no backend {name!r}", hint=f"available: {', '.join(backend_names())}")
