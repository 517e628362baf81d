"""Writes checkpoints in either layout, one tensor at a time, so they may be larger than memory."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gptoss_tui.engine.checkpoint.config_file import write_config
from gptoss_tui.engine.checkpoint.reader import CONFIG_FILE, INDEX_FILE, ReadTensor
from gptoss_tui.engine.checkpoint.tensors import StoredTensor, stored_tensors
from gptoss_tui.engine.config import Layout, ModelConfig
from gptoss_tui.errors import CheckpointError
from gptoss_tui.units import format_bytes

if TYPE_CHECKING:
    import torch

ReportBytes = Callable[[int, int], None]
"""Called with the bytes written so far and the total."""

# Alignment of the start of the data, so that mapped tensors are aligned as well as their sizes allow.
_DATA_ALIGNMENT = 64


def write_checkpoint(
    directory: Path,
    config: ModelConfig,
    read: ReadTensor,
    layout: Layout = "original",
    *,
    max_shard_bytes: int | None = None,
    on_progress: ReportBytes | None = None,
) -> None:
    """Write a checkpoint of `config` to `directory`, which may exist but must not contain a checkpoint.

    `read` returns the canonical tensor of a name (see `tensor_table`), BF16 or U8 on the CPU. It is called once for
    each, in the table's order, so `open_checkpoint(other).read` converts between layouts. Each file has at most
    `max_shard_bytes`, unless a single tensor is larger; None writes one file. The files get their names only after all
    are complete.

    Raises CheckpointError, leaving nothing behind, if there is already a checkpoint, if there is not enough space, or,
    naming the tensor, if a tensor's shape or dtype contradicts the config.
    """
    shards = _shards(stored_tensors(config, layout), max_shard_bytes)
    total = sum(stored.spec.nbytes for shard in shards for stored in shard)
    directory.mkdir(parents=True, exist_ok=True)
    _check_target(directory, total)
    names = [_file_name(layout, number, len(shards)) for number in range(1, len(shards) + 1)]
    partial = Path(tempfile.mkdtemp(prefix=".writing-", dir=directory))
    try:
        stream = _TensorStream(read, total, on_progress)
        for name, shard in zip(names, shards, strict=True):
            with (partial / name).open("wb") as file:
                _write_file(file, shard, stream)
        _write_side_files(partial, config, layout, dict(zip(names, shards, strict=True)))
        _publish(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _TensorStream:
    """Reads each canonical tensor once, writes its stored parts as bytes, and counts them."""

    def __init__(self, read: ReadTensor, total: int, on_progress: ReportBytes | None) -> None:
        self._read = read
        self._source = ""
        self._tensor: torch.Tensor | None = None
        self._done = 0
        self._total = total
        self._on_progress = on_progress

    def write(self, stored: StoredTensor, file: IO[bytes]) -> None:
        """Write the bytes of `stored` to `file`."""
        import torch

        if stored.source != self._source or self._tensor is None:
            self._tensor = None  # freed before the next one is read: the largest takes a gigabyte
            self._source, self._tensor = stored.source, self._read(stored.source)
        tensor = self._tensor if stored.rows is None else self._tensor[slice(*stored.rows)]
        wanted = (stored.spec.shape, {"BF16": torch.bfloat16, "U8": torch.uint8}[stored.spec.dtype])
        if (tuple(tensor.shape), tensor.dtype) != wanted:
            got = f"{tuple(tensor.shape)} {tensor.dtype}"
            raise CheckpointError(f"tensor {stored.source} to write is {got}, {wanted[0]} {wanted[1]} expected")
        file.write(tensor.detach().contiguous().view(torch.uint8).numpy().data)
        self._done += stored.spec.nbytes
        if self._on_progress:
            self._on_progress(self._done, self._total)


def _shards(tensors: Iterable[StoredTensor], max_bytes: int | None) -> list[list[StoredTensor]]:
    shards: list[list[StoredTensor]] = [[]]
    size = 0
    for stored in tensors:
        if max_bytes is not None and shards[-1] and size + stored.spec.nbytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(stored)
        size += stored.spec.nbytes
    return shards


def _file_name(layout: Layout, number: int, count: int) -> str:
    if count == 1:
        return "model.safetensors"
    dashes = "--" if layout == "original" else "-"  # like the published files
    return f"model{dashes}{number:05d}-of-{count:05d}.safetensors"


def _check_target(directory: Path, total: int) -> None:
    if (directory / CONFIG_FILE).exists() or any(directory.glob("*.safetensors")):
        raise CheckpointError(f"{directory} holds a checkpoint already; nothing was written", hint="name another one")
    free = shutil.disk_usage(directory).free
    if total > free:
        raise CheckpointError(
            f"{directory} has {format_bytes(free)} free, {format_bytes(total)} are needed; nothing was written"
        )


def _write_file(file: IO[bytes], tensors: Sequence[StoredTensor], stream: _TensorStream) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for stored, (begin, end) in zip(tensors, _offsets(tensors), strict=True):
        header[stored.name] = {
            "dtype": stored.spec.dtype,
            "shape": list(stored.spec.shape),
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-(8 + len(encoded)) % _DATA_ALIGNMENT)
    file.write(len(encoded).to_bytes(8, "little") + encoded)
    for stored in tensors:
        stream.write(stored, file)
    file.flush()
    os.fsync(file.fileno())


def _offsets(tensors: Iterable[StoredTensor]) -> Iterator[tuple[int, int]]:
    end = 0
    for stored in tensors:
        begin, end = end, end + stored.spec.nbytes
        yield begin, end


def _write_side_files(
    directory: Path, config: ModelConfig, layout: Layout, shards: dict[str, list[StoredTensor]]
) -> None:
    """Write config.json; for Hugging Face also generation_config.json and, if sharded, the index."""
    write_config(config, directory / CONFIG_FILE, layout)
    if layout == "original":
        return
    generation = {
        "bos_token_id": 199998,
        "do_sample": True,
        "eos_token_id": [200002, 199999, 200012],
        "pad_token_id": 199999,
    }
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(stored.spec.nbytes for shard in shards.values() for stored in shard)},
            "weight_map": {stored.name: name for name, shard in shards.items() for stored in shard},
        }
        (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _publish(partial: Path, directory: Path) -> None:
    """Move the files to their final names, the config last: without it the directory is not a checkpoint."""
    for path in sorted(partial.iterdir(), key=lambda path: path.name == CONFIG_FILE):
        path.replace(directory / path.name)
