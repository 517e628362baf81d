"""The kernels as data: names, sources, and how one is launched."""

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
    """One kernel. `header` goes before it; `source` is its body, in which inputs and outputs have their names."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    header: str
    source: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How a kernel runs once: values of its template parameters, threadgroups of `THREADS`, shapes and dtypes made."""

    template: Template
    groups: tuple[int, int]
    shapes: Sequence[tuple[int, ...]]
    dtypes: Sequence[mx.Dtype]


Run = Callable[[list[mx.array]], list[mx.array]]
"""Takes the inputs of a kernel and gives its outputs."""

Launcher = Callable[[Kernel, Launch], Run]
"""Makes a kernel ready to run in one way, once for all its steps."""


@cache
def kernel(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], swiglu_limit: float) -> Kernel:
    """The kernel in the file of that name."""
    constants = {"RMS_NORM_EPS": RMS_NORM_EPS, "SWIGLU_ALPHA": SWIGLU_ALPHA, "SWIGLU_LIMIT": float(swiglu_limit)}
    defined = "".join(f"#define {constant} {value!r}f\n" for constant, value in constants.items())
    shared = ("common", "sampling") if name in ("unembed", "draw") else ("common",)
    return Kernel(name, inputs, outputs, defined + "".join(map(_read, shared)), _read(name))


def launch_metal(kernel: Kernel, launch: Launch) -> Run:
    """Let the GPU run it. What the compiler says of its source is raised when the result is computed."""
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
    """A file without its comments: MLX puts the source together, and hashes it, at every launch."""
    lines = Path(__file__).with_name(f"{name}.metal").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line.strip()}\n" for line in lines if line.strip() and not line.lstrip().startswith("//"))
