"""What the first run shows about this machine: its hardware, and which models it can run. Blocks: call in a thread."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from gptoss_tui.engine.catalog import NANO, PUBLISHED, disk_free, installed_models
from gptoss_tui.engine.planning.here import ON_GPU, SMALLEST_CONTEXT, Place, places_here, plan_here
from gptoss_tui.engine.planning.machine import available_memory
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.first_run import ModelRow
from gptoss_tui.units import format_bytes

_SECONDS = 3


def machine_line(hardware: str) -> str:
    """One line about the machine: `hardware` (processor and memory), GPUs, free memory and free disk space."""
    free = available_memory()
    parts = [hardware, *gpus()]
    if free is not None:
        parts.append(f"{format_bytes(free)} memory free")
    parts.append(f"{format_bytes(disk_free())} disk free")
    return to_terminal_line(", ".join(part for part in parts if part))


def gpus() -> list[str]:
    """The NVIDIA GPUs with name and memory, as reported by nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip().replace(", ", " with ") for line in found.splitlines() if line.strip()]


def model_rows(current: str) -> list[ModelRow]:
    """nano, which is always available, and the published models with what they need. `current` is the one in use."""
    here = {model.name for model in installed_models() if model.directory and not model.problem}
    about = "small, shows how everything works"
    nano = ModelRow(NANO, f"built in, runs now: {about}" if current == NANO else f"built in: {about}", here=True)
    places = places_here()
    return [nano, *(_row(name, places, here=name in here, runs=name == current) for name in PUBLISHED)]


def _row(name: str, places: Sequence[Place], *, here: bool, runs: bool) -> ModelRow:
    """The row for a published model: whether it is installed, and whether this machine can hold it."""
    model = PUBLISHED[name]
    planned = plan_here(model.config, model.weight_bytes, None, places=places)
    smallest = min(SMALLEST_CONTEXT, model.config.max_context)
    least = plan_here(model.config, model.weight_bytes, smallest, places=places).memory.total
    needed = f"{format_bytes(least)} of {'GPU ' if planned.backend in ON_GPU else ''}memory"
    command = f"/model {name}"
    if runs:
        return ModelRow(name, f"is here, runs now: {needed}", here=True)
    size = "is here" if here else f"{format_bytes(model.weight_bytes)} to download"
    if not planned.memory.fits:
        return ModelRow(name, f"too large: {size}, {needed}", fits=False)
    if here:
        return ModelRow(name, f"is here, fits: {needed}", command, here=True)
    if disk_free() < model.weight_bytes:
        return ModelRow(name, f"no room: {size}, {needed}", fits=False)
    return ModelRow(name, f"fits: {size}, {needed}", command)
