"""Plans for this machine: which engine would run a model, and whether it fits into the memory of that engine's device.

Loading and everything that says "fits" use these functions, so that both say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.device import is_apple_silicon, measured_chip
from gptoss_tui.engine.metal.memory import METAL_NEEDS
from gptoss_tui.engine.native.memory import NATIVE_NEEDS
from gptoss_tui.engine.planning import choice
from gptoss_tui.engine.planning.machine import available_memory
from gptoss_tui.engine.planning.memory import MemoryPlan, plan
from gptoss_tui.engine.planning.probe import run_probe
from gptoss_tui.engine.torch.memory import TORCH_NEEDS
from gptoss_tui.engine.triton.memory import TRITON_NEEDS
from gptoss_tui.engine.types import Dtype

AUTO = "auto"
"""The name that stands for the fastest backend of this machine that can hold the model."""

ON_GPU = ("metal", "triton")
"""Backends that run on a GPU. If one cannot load a model, `auto` takes the CPU's."""

SMALLEST_CONTEXT = 4096
"""Tokens. A context that the user did not choose is not cut below this: a chat with tools needs about as much."""

TOO_SMALL = "does not fit the GPU's memory, using the CPU"

_NEEDS = {"metal": METAL_NEEDS, "native": NATIVE_NEEDS, "torch": TORCH_NEEDS, "triton": TRITON_NEEDS}


@dataclass(frozen=True, slots=True)
class Place:
    """A backend and the free bytes of its device; None stands for the machine's memory, or for a GPU not found."""

    backend: str
    available: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of a model on `backend`. `skipped` is the GPU's plan if `auto` went to the CPU because of it."""

    backend: str
    memory: MemoryPlan
    skipped: MemoryPlan | None = None

    @property
    def where(self) -> str:
        """The backend and its kind of device, for users."""
        return f"{self.backend}, {'GPU' if self.backend in ON_GPU else 'CPU'}"


def fastest_backend() -> str:
    """The first backend that `auto` tries: the GPU's if its kernels run here, else the CPU's. May import torch."""
    from gptoss_tui.engine.metal.device import is_usable

    return "metal" if is_usable() else choice.fastest_without_metal()


def find_gpu() -> Place | None:
    """The GPU that `auto` tries and its free memory. Imports torch or MLX: for fronts there is `places_here`."""
    backend = fastest_backend()
    return Place(backend, free_memory(backend)) if backend in ON_GPU else None


def places_here(backend: str = AUTO, *, held: int = 0) -> tuple[Place, ...]:
    """Where a model could run, the fastest first: one place for a given `backend`, for `auto` the GPU and the CPU.

    `held` bytes of the GPU belong to a model that will be unloaded first. Asks another process about a GPU, so that a
    front neither imports torch nor takes memory of the GPU; that can take seconds.
    """
    if backend not in (AUTO, *ON_GPU):
        return (Place(backend),)
    gpu = _find_gpu_aside()
    if gpu is not None and gpu.available is not None:
        gpu = replace(gpu, available=gpu.available + held)
    if backend in ON_GPU:
        return (gpu if gpu is not None and gpu.backend == backend else Place(backend),)
    cpu = Place(choice.cpu_backend())
    return (cpu,) if gpu is None else (gpu, cpu)


def plan_here(
    config: ModelConfig,
    weight_bytes: int,
    context: int | None,
    dtype: Dtype = "bfloat16",
    *,
    places: Sequence[Place],
    parked: int | None = None,
) -> Planned:
    """The plan for the first of `places` where the model fits, or for the one where it lacks the least."""
    plans = [(place, plan_at(place, config, weight_bytes, context, dtype, parked=parked)) for place in places]
    place, chosen = next((one for one in plans if one[1].fits), min(plans, key=lambda one: lacking(one[1])))
    first = plans[0][1]
    return Planned(place.backend, chosen, first if chosen.fits and chosen is not first else None)


def plan_at(
    place: Place,
    config: ModelConfig,
    weight_bytes: int,
    context: int | None,
    dtype: Dtype = "bfloat16",
    *,
    parked: int | None = None,
) -> MemoryPlan:
    """Plan the memory for one place. `context` None is the longest that fits, but no less than `SMALLEST_CONTEXT`."""
    needs = _NEEDS[place.backend]
    host = available_memory() if needs.own_memory else None

    def plan_for(tokens: int | None) -> MemoryPlan:
        return plan(
            *(config, weight_bytes, tokens, dtype), available=place.available, needs=needs, parked=parked, host=host
        )

    chosen, smallest = plan_for(context), min(SMALLEST_CONTEXT, config.max_context)
    none_fits = chosen.largest_context is not None and chosen.largest_context < smallest
    return plan_for(smallest) if context is None and (none_fits or chosen.context < smallest) else chosen


def lacking(memory: MemoryPlan) -> int:
    """Bytes that a plan needs beyond what is available."""
    return 0 if memory.available is None else max(0, memory.total + memory.parked - memory.available)


def free_memory(backend: str, device: str = "cpu") -> int | None:
    """Free bytes of the device of `backend`, for `Place`. Imports torch or MLX if it is a GPU."""
    if backend == "metal":
        # It shares the machine's memory, of which macOS lets it use only a part.
        chip, spare = measured_chip(), available_memory()
        return spare if chip is None or spare is None else min(spare, chip.wired_limit)
    if backend != "triton" and not device.startswith("cuda"):
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return int(torch.cuda.mem_get_info(device if device.startswith("cuda") else "cuda")[0])


def _find_gpu_aside() -> Place | None:
    if not (choice.has_nvidia_driver() or is_apple_silicon()):
        return None
    found = run_probe(gpu=True).get("gpu")
    return Place(found["backend"], found["available"]) if found else None
