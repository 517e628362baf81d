"""The Apple chip that the engine runs on: whether it is there, and what is known of it. MLX is imported when needed."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from gptoss_tui.engine.metal.memory import CACHE_LIMIT
from gptoss_tui.errors import EngineError

ON_CPU_VARIABLE = "GPTOSS_TUI_METAL_ON_CPU"
"""Set to 1, the engine runs on MLX's CPU kernels: tests do. They are a thousand times slower than any other engine."""


def is_apple_silicon() -> bool:
    """Whether this is a Mac with an M chip."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def is_usable() -> bool:
    """Whether `auto` may choose this engine: the chip, MLX, and a GPU that MLX can reach (a virtual Mac has none)."""
    if not is_apple_silicon() or find_spec("mlx") is None:
        return False
    import mlx.core as mx

    return bool(mx.metal.is_available())


def is_metal(backend: str) -> bool:
    """Whether the backend of that name, `auto` too, is this one here."""
    return backend == "metal" or (backend == "auto" and is_usable())


def mlx_version() -> str | None:
    """The version of MLX; None where it is not installed."""
    try:
        return version("mlx")
    except PackageNotFoundError:
        return None


def prepare() -> str:
    """Make MLX ready and name its device. Raises EngineError, with the engine to use instead, where it cannot be."""
    on_cpu = os.environ.get(ON_CPU_VARIABLE) == "1"
    if not (on_cpu or is_apple_silicon()):
        raise EngineError(
            f"The Metal engine runs on Macs with Apple silicon; this is {platform.system()} on {platform.machine()}",
            hint=f"here `--backend {_other_backend()}` is the right one; `--backend auto` finds it",
        )
    if find_spec("mlx") is None:
        raise EngineError("The Metal engine needs MLX, which is not installed", hint="pip install 'gptoss-tui[metal]'")
    import mlx.core as mx

    if on_cpu:
        mx.set_default_device(mx.cpu)
        return "cpu (MLX)"
    if not mx.metal.is_available():
        raise EngineError(
            "MLX reaches no GPU of this Mac, as in a virtual machine",
            hint=f"here `--backend {_other_backend()}` is the right one; `--backend auto` finds it",
        )
    facts = mx.device_info()
    # Weights that macOS may page out are read again at the speed of the disk.
    mx.set_wired_limit(int(facts["max_recommended_working_set_size"]))
    mx.set_cache_limit(CACHE_LIMIT)
    return str(facts.get("device_name", "Apple GPU"))


def _other_backend() -> str:
    from gptoss_tui.engine.backends import fastest_backend

    return fastest_backend()
