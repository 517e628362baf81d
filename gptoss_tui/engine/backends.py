"""The one place that turns a backend's name into a loaded backend."""

from __future__ import annotations

import os
from importlib import import_module
from typing import cast

from gptoss_tui.engine.backend import Backend, ReportProgress
from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.errors import UsageError

BACKENDS = {"torch": "gptoss_tui.engine.torch.backend"}
"""Name to the module whose `load_backend(spec, report)` loads it."""

PYTHON_BACKENDS_VARIABLE = "GPTOSS_TUI_PYTHON_BACKENDS"
"""Set to 1, it lets `python:package.module` name a backend outside the package (experiments and tests)."""


def backend_names() -> list[str]:
    """The names that `--backend` takes, sorted."""
    return sorted(BACKENDS)


def load_backend(spec: EngineSpec, report: ReportProgress) -> Backend:
    """Load the checkpoint of `spec` on the backend that it names, reporting progress on the way.

    Imports torch and the like: call it in the worker only. Raises UsageError for an unknown name and whatever the
    backend raises (CheckpointError, MemoryPlanError, EngineError).
    """
    module = import_module(backend_module(spec.backend))
    return cast(Backend, module.load_backend(spec, report))


def backend_module(name: str) -> str:
    """The module of backend `name`. Raises UsageError when there is none of that name.

    Code of the caller's choice runs only where the environment says so, never because of a settings file alone.
    """
    if name in BACKENDS:
        return BACKENDS[name]
    if name.startswith("python:") and os.environ.get(PYTHON_BACKENDS_VARIABLE) == "1":
        return name.removeprefix("python:")
    raise UsageError(f"There is no backend {name!r}", hint=f"available: {', '.join(backend_names())}")
