"""Which models exist, where each is stored, and how a name that the user types becomes a directory."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from gptoss_tui.engine.checkpoint import Checkpoint, open_checkpoint, tensor_table
from gptoss_tui.engine.checkpoint.random_weights import random_model
from gptoss_tui.engine.config import GPT_OSS_20B, GPT_OSS_120B, Layout, ModelConfig
from gptoss_tui.engine.nano import compact_file
from gptoss_tui.engine.types import RANDOM_PREFIX
from gptoss_tui.errors import CheckpointError, ModelNotFoundError, UnknownModelError
from gptoss_tui.units import format_bytes

MODELS_DIR_VARIABLE = "GPTOSS_MODELS_DIR"
NANO = "nano"

Source = Literal["built in", "models directory", "Hugging Face cache"]


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A model that can be downloaded: our name for it, its repository, shape and licence."""

    name: str
    repository: str
    config: ModelConfig
    licence: str = "Apache-2.0"

    @property
    def weight_bytes(self) -> int:
        """Size of the weights, on disk and as a download; the same in both layouts."""
        return sum(spec.nbytes for spec in tensor_table(self.config).values())


PUBLISHED: Mapping[str, PublishedModel] = {
    "gpt-oss-20b": PublishedModel("gpt-oss-20b", "openai/gpt-oss-20b", GPT_OSS_20B),
    "gpt-oss-120b": PublishedModel("gpt-oss-120b", "openai/gpt-oss-120b", GPT_OSS_120B),
}


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model on this machine; `size` in bytes. `problem` says why it cannot be used, such as an incomplete download.

    The built-in model has no directory and no layout before its first use.
    """

    name: str
    source: Source
    directory: Path | None
    layout: Layout | Literal["metal"] | None
    size: int
    problem: str | None = None


def published_model(name: str) -> PublishedModel | None:
    """The published model with that name, with or without the prefix `openai/`."""
    return PUBLISHED.get(name.removeprefix("openai/"))


def models_directory() -> Path:
    """Where downloads are stored: `GPTOSS_MODELS_DIR`, or `models` in the user's data directory."""
    if named := os.environ.get(MODELS_DIR_VARIABLE):
        return Path(named).expanduser()
    return platformdirs.user_data_path("gptoss-tui", appauthor=False) / "models"


def disk_free(directory: Path | None = None) -> int:
    """Free bytes on the disk of `directory`, which need not exist yet; by default that of the models directory."""
    return shutil.disk_usage(_existing(directory or models_directory())).free


def same_disk(one: Path, other: Path) -> bool:
    """Whether two folders, which need not exist yet, are on the same disk."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def resolve_model(name_or_path: str | Path) -> Path:
    """Return the directory of a model for `open_checkpoint`, or for `nano` its compact file, which the worker unpacks.

    A name can be `nano`; a published model (`gpt-oss-20b`, `openai/gpt-oss-20b`) that is complete in the models
    directory or the Hugging Face cache; `random:` and a published model (random weights of that shape, for benchmarks);
    or a folder in the models directory. Everything else is the path of a directory. Names take precedence, so a folder
    in the current directory with such a name is written `./nano`.

    Raises ModelNotFoundError, with advice as its hint: UnknownModelError for a name that no model has.
    """
    name = str(name_or_path)
    if name == NANO:
        return compact_file()
    if name.startswith(RANDOM_PREFIX):
        return random_model(name).directory
    if model := published_model(name):
        return _resolve_published(model)
    if not _is_path(name) and (directory := models_directory() / name).is_dir():
        return directory
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    raise UnknownModelError(f"There is no model or directory {name!r}", hint=_suggestion(name))


def installed_models() -> list[InstalledModel]:
    """The built-in model, the contents of the models directory, and published models in the Hugging Face cache."""
    found = []
    if compact_file().is_file():
        found.append(InstalledModel(NANO, "built in", None, None, compact_file().stat().st_size))
    kept = models_directory()
    folders = sorted(path for path in kept.glob("[!.]*") if path.is_dir())
    found += [_inspect(folder.name, "models directory", folder) for folder in folders]
    for model in PUBLISHED.values():
        for directory in _cached_snapshots(model):
            entry = _inspect(model.name, "Hugging Face cache", directory)
            if entry.problem is None:
                found.append(entry)
                break
    return found


def _resolve_published(model: PublishedModel) -> Path:
    kept = models_directory() / model.name
    for directory in (kept, *_cached_snapshots(model)):
        if _try_open(directory):
            return directory
    command = f"gptoss-tui models download {model.name}"
    size = format_bytes(model.weight_bytes)
    if kept.is_dir():
        raise ModelNotFoundError(f"{model.name} in {kept} is not complete", hint=f"finish the download: {command}")
    raise ModelNotFoundError(f"{model.name} is not on this machine", hint=f"download it ({size}): {command}")


def _try_open(directory: Path) -> Checkpoint | None:
    try:
        return open_checkpoint(directory)
    except CheckpointError:
        return None


def _inspect(name: str, source: Source, directory: Path) -> InstalledModel:
    try:
        checkpoint = open_checkpoint(directory)
    except CheckpointError as error:
        return InstalledModel(name, source, directory, None, _bytes_below(directory), error.message)
    return InstalledModel(name, source, directory, checkpoint.layout, checkpoint.weight_bytes)


def _bytes_below(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _cached_snapshots(model: PublishedModel) -> Iterator[Path]:
    """Folders in the Hugging Face cache that hold a revision of `model`, complete or not."""
    folder = "models--" + model.repository.replace("/", "--")
    yield from sorted(_huggingface_cache().glob(f"{folder}/snapshots/*"))


def _huggingface_cache() -> Path:
    """Where huggingface_hub stores downloads, by its own variables. Importing it just for that would be slow."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := os.environ.get(variable):
            return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def _is_path(name: str) -> bool:
    return name.startswith((".", "~")) or "/" in name or os.sep in name


def _suggestion(name: str) -> str:
    if re.match(r"[\w.-]+:\d+(/|#|$)", name):
        return f"the address of a server is written http://{name}"
    close = difflib.get_close_matches(name, [NANO, *PUBLISHED], n=1)
    return f"did you mean {close[0]}?" if close else "`gptoss-tui models list` shows the names"
