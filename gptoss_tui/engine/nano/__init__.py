"""The built-in demo checkpoint. Importing this package does not import torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def compact_file() -> Path:
    """The compact file in this package, which `expand.unpacked` turns into a checkpoint."""
    return Path(str(resources.files("gptoss_tui.engine.nano").joinpath("nano.safetensors")))
