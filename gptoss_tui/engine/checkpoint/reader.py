"""Opens checkpoints of both layouts, sharded or not: headers are checked, tensors are memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from gptoss_tui.engine.checkpoint.config_file import read_config
from gptoss_tui.engine.checkpoint.header import HeaderEntry, read_header
from gptoss_tui.engine.checkpoint.tensors import StoredTensor, stored_tensors
from gptoss_tui.engine.config import Layout, ModelConfig
from gptoss_tui.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    Raw = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

ReadTensor = Callable[[str], "torch.Tensor"]
"""Returns the tensor with a canonical name, as `Checkpoint.read` does."""

ReadRaw = Callable[[str], "Raw"]
"""Returns the raw bits of the tensor with a canonical name, as `Checkpoint.raw` does."""

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
ORIGINAL_FOLDER = "original"


class Checkpoint:
    """An open checkpoint; every tensor was found to be present with the right shape and dtype.

    `directory` holds the files; `weight_bytes` is the size of all tensors on disk.
    """

    def __init__(
        self, directory: Path, config: ModelConfig, layout: Layout, files: Mapping[str, tuple[Path, HeaderEntry]]
    ) -> None:
        self.directory = directory
        self.config = config
        self.layout: Layout | Literal["metal"] = layout
        self._files = files
        self._handles: dict[Path, Any] = {}
        self._sources: dict[str, list[StoredTensor]] = {}
        for stored in stored_tensors(config, layout):
            self._sources.setdefault(stored.source, []).append(stored)
        self.weight_bytes = sum(stored.spec.nbytes for parts in self._sources.values() for stored in parts)

    @property
    def files(self) -> list[Path]:
        """The files that hold the tensors, sorted."""
        return sorted({path for path, _ in self._files.values()})

    def read(self, name: str) -> torch.Tensor:
        """The canonical tensor `name` (see `tensor_table`) on the CPU; raises KeyError for an unknown name.

        Its memory is mapped from the file and loaded on access; only q, k and v of the Hugging Face layout are copied,
        into one tensor. MXFP4 blocks and scales stay packed bytes. Do not write to it.
        """
        import torch

        parts = [self._read_stored(stored.name) for stored in self._sources[name]]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def raw(self, name: str) -> Raw:
        """The canonical tensor `name` without torch: uint8, or uint16 for the bits of bfloat16.

        Memory-mapped like in `read`; do not write to it.
        """
        import numpy as np

        parts = [self._raw_stored(stored) for stored in self._sources[name]]
        joined: Any = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return cast("Raw", joined)

    def _raw_stored(self, stored: StoredTensor) -> Raw:
        import numpy as np

        path, entry = self._files[stored.name]
        dtype = np.dtype(np.uint8 if stored.spec.dtype == "U8" else "<u2")
        return np.memmap(path, dtype, mode="r", offset=entry.offset, shape=stored.spec.shape)

    def _read_stored(self, name: str) -> torch.Tensor:
        path, _ = self._files[name]
        if path not in self._handles:
            from safetensors import safe_open

            self._handles[path] = safe_open(path, framework="pt")
        tensor: torch.Tensor = self._handles[path].get_tensor(name)
        return tensor


def open_safetensors(directory: Path) -> Checkpoint:
    """Open the safetensors files in `directory`, or in its folder `original/` if it has no weights itself.

    A downloaded repository may contain both layouts. Then the Hugging Face layout at its root takes precedence, because
    that is the directory given, unless some of its shards are missing. Only headers are read.

    Raises CheckpointError, naming the file and the tensor, for anything that is missing, surplus or truncated, or whose
    shape or dtype contradicts the config.
    """
    found = find_checkpoint(directory)
    config, layout = read_config(found / CONFIG_FILE)
    entries: dict[str, tuple[Path, HeaderEntry]] = {}
    for path in _weight_files(found):
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; {INDEX_FILE} names it", hint="download it again")
        for name, entry in read_header(path).items():
            if name in entries:
                raise CheckpointError(f"tensor {name} is both in {entries[name][0]} and in {path}")
            entries[name] = (path, entry)
    _validate(found, entries, stored_tensors(config, layout))
    return Checkpoint(found, config, layout, entries)


def find_checkpoint(directory: Path) -> Path:
    """The first of `directory` and its folder `original/` that has weights, preferring one without missing shards.

    Raises CheckpointError if neither has weights.
    """
    if found := _places_with_weights(directory):
        return next((place for place in found if all(path.is_file() for path in _weight_files(place))), found[0])
    what = "holds no *.safetensors files" if directory.is_dir() else "is not a directory"
    raise CheckpointError(f"{directory} {what}", hint="name the directory of a gpt-oss checkpoint")


def has_safetensors(directory: Path) -> bool:
    """Whether `find_checkpoint` finds weights in `directory`."""
    return bool(_places_with_weights(directory))


def _places_with_weights(directory: Path) -> list[Path]:
    places = (directory, directory / ORIGINAL_FOLDER)
    return [place for place in places if (place / INDEX_FILE).is_file() or any(place.glob("*.safetensors"))]


def _weight_files(directory: Path) -> list[Path]:
    """The files named in the index, or without an index all safetensors files."""
    index = directory / INDEX_FILE
    if not index.is_file():
        return sorted(directory.glob("*.safetensors"))
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} cannot be read as an index of weights: {error}") from error
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{index} names a file outside its directory: {name!r}")
    return [directory / name for name in names]


def _validate(directory: Path, entries: Mapping[str, tuple[Path, HeaderEntry]], wanted: Iterable[StoredTensor]) -> None:
    expected = {stored.name: stored.spec for stored in wanted}
    for name, spec in expected.items():
        if name not in entries:
            raise CheckpointError(f"tensor {name} is missing in {directory}", hint="a file of the model may be missing")
        path, entry = entries[name]
        for what, got, want in (("dtype", entry.dtype, spec.dtype), ("shape", entry.shape, spec.shape)):
            if got != want:
                raise CheckpointError(f"tensor {name} in {path} has {what} {got}, {want} expected")
        if entry.nbytes != spec.nbytes:
            raise CheckpointError(f"tensor {name} in {path} has {entry.nbytes} bytes, {spec.nbytes} expected")
    for name in _extra(entries, expected):
        raise CheckpointError(f"tensor {name} in {entries[name][0]} does not belong to a gpt-oss model of this shape")


def _extra(entries: Iterable[str], expected: Mapping[str, object]) -> Iterator[str]:
    return (name for name in entries if name not in expected)
