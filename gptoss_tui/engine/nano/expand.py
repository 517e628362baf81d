"""Expands nano's compact file to a standard checkpoint in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
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
    """Write the checkpoint (original layout, BF16 and MXFP4) described by `compact`. Raises CheckpointError."""
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
    """The canonical tensor `name`. `rows` BF16 [vocab_size, hidden_size] are used at both ends of the model."""
    import torch

    if name == "embedding.weight":
        return rows
    if name == "unembedding.weight":
        unspoken = stored["vocabulary.spoken"] == 0
        return torch.where(unspoken[:, None], stored["vocabulary.unused_row"].to(rows.dtype), rows)
    return stored[name]


def vocabulary_rows(stored: dict[str, Tensor], hidden_size: int) -> Tensor:
    """The row of every id, [vocab_size, hidden_size] BF16 (see `compact.py` for the formula)."""
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


def unpacked(model: Path, report: Callable[[float], None] = lambda fraction: None) -> Path:
    """The directory of a resolved model. Only the built-in one is a file, which is expanded on its first use."""
    return materialise(model, report) if model.is_file() else model


def materialise(compact: Path, report: Callable[[float], None] = lambda fraction: None) -> Path:
    """Return the directory of the expanded checkpoint. It is made on first use and named by the compact file's digest.

    It is in the user's cache or, if that is not writable or full, in a temporary folder that other users cannot write
    to. Raises CheckpointError if neither works.
    """
    from safetensors import SafetensorError  # also raised when the disk is full

    digest = hashlib.sha256(compact.read_bytes()).hexdigest()[:16]
    first, second = user_cache_path("gptoss-tui") / "nano" / digest, _temporary_base() / "nano" / digest
    if _is_whole(first):
        return first
    if _is_ours(second.parent.parent) and _is_whole(second):
        return second
    report(0.0)
    try:
        made = _unpack(compact, first)
    except (OSError, SafetensorError) as error:
        try:
            _temporary_base().mkdir(mode=0o700, exist_ok=True)
            if not _is_ours(_temporary_base()):
                raise PermissionError(f"{_temporary_base()} is not ours alone")
            made = _unpack(compact, second)
        except (OSError, SafetensorError):
            raise CheckpointError(
                f"The built-in model cannot be unpacked to {first}: {error}", hint="free about 320 MB there"
            ) from error
    report(1.0)
    return made


def _temporary_base() -> Path:
    return Path(tempfile.gettempdir()) / f"gptoss-tui-{os.getuid()}"


def _is_ours(folder: Path) -> bool:
    """Whether only this user can have put anything into `folder`."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def _is_whole(target: Path) -> bool:
    try:
        return (target / "config.json").is_file()
    except OSError:  # a folder on the path cannot be searched
        return False


def _unpack(compact: Path, target: Path) -> Path:
    base = target.parent
    base.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=base))
    try:
        expand(compact, temporary)
        os.replace(temporary, target)
    except OSError:
        if not _is_whole(target):  # another process may have been faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in base.iterdir():
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target
