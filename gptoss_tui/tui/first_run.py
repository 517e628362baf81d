"""What the first run says about this machine: its parts, and the models that it can run. For a thread: it reads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from gptoss_tui.engine.catalog import NANO, PUBLISHED, installed_models, models_directory
from gptoss_tui.engine.memory import available_memory, gigabytes, plan
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.first_run import ModelRow

_SECONDS = 3


def machine_line(hardware: str) -> str:
    """The machine in one line: `hardware` says processor and memory; what is free of memory and disk comes with it."""
    free = available_memory()
    parts = [hardware, *gpus()]
    if free is not None:
        parts.append(f"{gigabytes(free)} memory free")
    parts.append(f"{gigabytes(disk_free())} disk free")
    return to_terminal_line(", ".join(part for part in parts if part))


def gpus() -> list[str]:
    """NVIDIA GPUs by name and memory, as their driver lists them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip().replace(", ", " with ") for line in found.splitlines() if line.strip()]


def disk_free() -> int:
    """Bytes that are free where models are kept."""
    folder = models_directory().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    return shutil.disk_usage(existing).free


def model_rows() -> list[ModelRow]:
    """nano, which runs now, and the published models with what they need here."""
    here = {model.name: Path(model.directory) for model in installed_models() if model.directory and not model.problem}
    rows = [ModelRow(NANO, "runs now, built in: small, shows how everything works")]
    for name in PUBLISHED:
        fit, fits = _fit(name, installed=name in here)
        rows.append(ModelRow(name, fit, f"/model {name}" if fits else ""))
    return rows


def _fit(name: str, *, installed: bool) -> tuple[str, bool]:
    """What a published model needs in words, and whether this machine has it."""
    model = PUBLISHED[name]
    memory = plan(model.config, model.weight_bytes, None)
    needed = plan(model.config, model.weight_bytes, 1).total
    size = "is here" if installed else f"{gigabytes(model.weight_bytes)} to download"
    if memory.available is not None and not memory.largest_context:
        return f"{size}, needs {gigabytes(needed)} of memory: too much for this machine", False
    if not installed and disk_free() < model.weight_bytes:
        return f"{size}, fits the memory, but the disk has {gigabytes(disk_free())} free", False
    return f"{size}, needs {gigabytes(needed)} of memory: fits", True
