"""Finds and prepares the Apple GPU that the engine runs on. MLX is imported only when it is needed."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from gptoss_tui.engine.metal.apple import AppleChip, is_translated, read_chip
from gptoss_tui.engine.metal.memory import CACHE_LIMIT
from gptoss_tui.engine.planning.choice import fastest_without_metal
from gptoss_tui.errors import EngineError

ON_CPU_VARIABLE = "GPTOSS_TUI_METAL_ON_CPU"
"""Environment variable: 1 runs the engine on MLX's CPU kernels, as tests do, a thousand times slower than any other."""


def is_apple_silicon() -> bool:
    """Whether this is a Mac with an M chip, running a Python that was built for it."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def mlx_problem() -> str | None:
    """Why MLX cannot be imported here; None if it can, in which case it has been imported."""
    if find_spec("mlx") is None:
        return "it is not installed"
    try:
        import_module("mlx.core")
    except (ImportError, OSError, RuntimeError) as error:  # one of its libraries does not load, or there is no metallib
        return f"it cannot be imported ({error})"
    return None


def is_usable() -> bool:
    """Whether `auto` may choose this engine: the chip, MLX, and a GPU that MLX can reach (virtual Macs have none)."""
    return is_apple_silicon() and mlx_problem() is None and _reaches_gpu()


def on_gpu() -> bool:
    """Whether MLX computes on a GPU: false if tests chose the CPU, even on a Mac with a GPU. Imports MLX."""
    import mlx.core as mx

    return _reaches_gpu() and mx.default_device() == mx.Device(mx.gpu)


def measured_chip() -> AppleChip | None:
    """Like `read_chip`, but with the limit that Metal itself reports. Imports MLX, so not for use in a front."""
    chip = read_chip()
    if chip is None or not is_usable():
        return chip
    return replace(chip, wired_limit=_working_set(), estimated=False)


def mlx_version() -> str | None:
    """The version of MLX; None if it is not installed."""
    try:
        return version("mlx")
    except PackageNotFoundError:
        return None


def prepare() -> str:
    """Set MLX up and return its device's name. If that fails, raises EngineError with the engine to use instead."""
    on_cpu = os.environ.get(ON_CPU_VARIABLE) == "1"
    if not (on_cpu or is_apple_silicon()):
        raise _not_here()
    if problem := mlx_problem():
        instead = f"until then, `--backend {fastest_without_metal()}` is the right one here"
        raise EngineError(
            f"The Metal engine needs MLX: {problem}",
            hint=f"pip install --force-reinstall mlx; {instead}",
        )
    import mlx.core as mx

    if on_cpu:
        mx.set_default_device(mx.cpu)
        return "cpu (MLX)"
    if not _reaches_gpu():
        raise EngineError(
            "MLX finds no GPU on this Mac, as in a virtual machine",
            hint=f"here `--backend {fastest_without_metal()}` is the right engine; `--backend auto` picks it",
        )
    limit = _working_set()
    # If macOS could page weights out, they would be read again at the speed of the disk.
    mx.set_wired_limit(limit)
    # Above this limit, MLX waits for running work to free memory before it asks the system for more.
    mx.set_memory_limit(limit)
    mx.set_cache_limit(CACHE_LIMIT)
    return str(mx.device_info(mx.gpu).get("device_name", "Apple GPU"))


def _not_here() -> EngineError:
    if is_translated():
        return EngineError(
            "The Metal engine needs a Python for Apple silicon; this one is built for Intel and runs under Rosetta",
            hint=f"install gptoss-tui with an arm64 Python; with this one, `--backend {fastest_without_metal()}` works",
        )
    return EngineError(
        f"The Metal engine runs on Macs with Apple silicon; this is {platform.system()} on {platform.machine()}",
        hint=f"here `--backend {fastest_without_metal()}` is the right engine; `--backend auto` picks it",
    )


def _reaches_gpu() -> bool:
    import mlx.core as mx

    # MLX for Macs always reports Metal as available; only the device count actually asks Metal for a GPU.
    return bool(mx.metal.is_available()) and mx.device_count(mx.gpu) > 0


def _working_set() -> int:
    """Bytes that the GPU may use according to Metal: macOS's default, or the limit set by `iogpu.wired_limit_mb`."""
    import mlx.core as mx

    return int(mx.device_info(mx.gpu)["max_recommended_working_set_size"])
