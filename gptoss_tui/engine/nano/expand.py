"""From nano's compact file to a standard checkpoint in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from gptoss_tui.engine.checkpoint import write_checkpoint
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.nano.compact import CODE_SCALE, code_rows
from gptoss_tui.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_ROWS_AT_ONCE = 32_768


def expand(compact: Path, directory: Path) -> None:
    """Write the checkpoint (original layout, BF16 and MXFP4) that `compact` stands for. Raises CheckpointError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(compact, framework="pt") as file:
            config = ModelConfig(**json.loads(file.metadata()["config"]))
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"The built-in model cannot be read from {compact}: {error}", hint="reinstall gptoss-tui"
        ) from error
    rows = vocabulary_rows(stored, config.hidden_size)
    write_checkpoint(directory, config, lambda name: _read(name, stored, rows), layout="original")


def _read(name: str, stored: dict[str, Tensor], rows: Tensor) -> Tensor:
    """The canonical tensor of that name. `rows` BF16 [vocab_size, hidden_size] serve both ends of the model."""
    import torch

    if name == "embedding.weight":
        return rows
    if name == "unembedding.weight":
        unspoken = stored["vocabulary.spoken"] == 0
        return torch.where(unspoken[:, None], stored["vocabulary.unused_row"].to(rows.dtype), rows)
    return stored[name]


def vocabulary_rows(stored: dict[str, Tensor], hidden_size: int) -> Tensor:
    """The row of every id, [vocab_size, hidden_size] BF16 (the formula stands in `compact.py`)."""
    import torch

    stem, flags = stored["vocabulary.stem"], stored["vocabulary.flags"].long()
    common = stored["vocabulary.common"].long()
    rows = torch.empty(len(stem), hidden_size, dtype=torch.bfloat16)
    delta = stored["vocabulary.delta"].float() * stored["vocabulary.delta_scale"][:, None]
    bounds = torch.searchsorted(common, torch.arange(0, len(stem) + _ROWS_AT_ONCE, _ROWS_AT_ONCE))
    for chunk, start in enumerate(range(0, len(stem), _ROWS_AT_ONCE)):
        end = min(start + _ROWS_AT_ONCE, len(stem))
        codes = torch.from_numpy(code_rows(stem[start:end].numpy(), hidden_size)).float()
        block = codes * CODE_SCALE + stored["vocabulary.flag_rows"][flags[start:end]]
        first, last = int(bounds[chunk]), int(bounds[chunk + 1])
        block[common[first:last] - start] += delta[first:last]
        rows[start:end] = block.to(torch.bfloat16)
    return rows


def materialise(compact: Path, report: Callable[[float], None] = lambda fraction: None) -> Path:
    """The directory of the expanded checkpoint; made on first use, named by the compact file's content."""
    digest = hashlib.sha256(compact.read_bytes()).hexdigest()[:16]
    base = user_cache_path("gptoss-tui") / "nano"
    target = base / digest
    if (target / "config.json").is_file():
        return target
    base.mkdir(parents=True, exist_ok=True)
    report(0.0)
    temporary = Path(tempfile.mkdtemp(dir=base))
    try:
        expand(compact, temporary)
        os.replace(temporary, target)
    except OSError as error:
        if not (target / "config.json").is_file():  # another process may have been quicker
            raise CheckpointError(
                f"The built-in model cannot be unpacked to {target}: {error}", hint="free about 320 MB there"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in base.iterdir():
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    report(1.0)
    return target
