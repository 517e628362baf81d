"""Reads the kernels' sources and launches kernels through MLX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import mlx.core as mx

from gptoss_tui.engine.config import RMS_NORM_EPS, SWIGLU_ALPHA

THREADS = 256
"""Threads of a threadgroup: 8 simdgroups of 32 lanes."""

SIMDS = 8

Size = tuple[int, int, int]
Template = tuple[tuple[str, int | mx.Dtype], ...]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel. `header` is put before it; `source` is its body, which uses the names of inputs and outputs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    header: str
    source: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How a kernel is run: its template parameters, numbers of threadgroups, and its outputs' shapes and dtypes."""

    template: Template
    groups: tuple[int, int]
    shapes: Sequence[tuple[int, ...]]
    dtypes: Sequence[mx.Dtype]


Run = Callable[[list[mx.array]], list[mx.array]]
"""Takes the inputs of a kernel and returns its outputs."""

Launcher = Callable[[Kernel, Launch], Run]
"""Prepares a kernel to be run in one way, once for all steps."""


@cache
def kernel(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], swiglu_limit: float) -> Kernel:
    """Read the kernel called `name` from its file."""
    constants = {"RMS_NORM_EPS": RMS_NORM_EPS, "SWIGLU_ALPHA": SWIGLU_ALPHA, "SWIGLU_LIMIT": float(swiglu_limit)}
    defined = "".join(f"#define {constant} {value!r}f\n" for constant, value in constants.items())
    shared = ("common", "sampling") if name in ("unembed", "draw") else ("common",)
    return Kernel(name, inputs, outputs, defined + "".join(map(_read, shared)), _read(name))


def launch_metal(kernel: Kernel, launch: Launch) -> Run:
    """A function that runs the kernel on the GPU. Errors of the Metal compiler are raised when a result is computed."""
    across, down = launch.groups
    return partial(
        _started,
        mx.fast.metal_kernel(
            name=f"gptoss_{kernel.name}",
            input_names=list(kernel.inputs),
            output_names=list(kernel.outputs),
            source=kernel.source,
            header=kernel.header,
        ),
        {
            "template": list(launch.template),
            "grid": (across * THREADS, down, 1),
            "threadgroup": (THREADS, 1, 1),
            "output_shapes": list(launch.shapes),
            "output_dtypes": list(launch.dtypes),
        },
    )


def _started(made: Callable[..., list[mx.array]], how: dict[str, Any], inputs: list[mx.array]) -> list[mx.array]:
    return made(inputs=inputs, **how)


def _read(name: str) -> str:
    """Read a `.metal` file without its comments: MLX assembles and hashes the source at every launch."""
    lines = Path(__file__).with_name(f"{name}.metal").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line.strip()}\n" for line in lines if line.strip() and not line.lstrip().startswith("//"))
