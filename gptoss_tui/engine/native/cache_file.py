"""Files of repacked weights in the user's cache: written once, mapped from then on.

A file has 8 bytes of magic, the length of a JSON header in 8 bytes (little-endian), the header {"sections": {name:
[offset, length]}}, and the sections, each starting at a page boundary. Its name has a digest of what it was made from,
and a file gets its name only when it is complete: so a file with that name and the model's sections can be trusted. A
process holds a lock on the file it is writing; an incomplete file without a lock was left by a process that was killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from gptoss_tui.engine.checkpoint import Checkpoint
from gptoss_tui.units import format_bytes

FORMAT = 1
"""Version of the file and of all layouts in it."""

MAGIC = b"gptossn\n"
_PAGE = 4096
_PARTIAL = ".partial-"
SOURCE_NOTE = "source"

Bytes = npt.NDArray[np.uint8]
Write = Callable[[int, Bytes], None]
"""Writes bytes at an offset within a section. Several threads may call it at once."""


def cache_folder() -> Path:
    """The folder with the files of all models."""
    return user_cache_path("gptoss-tui") / "native"


def source_folder(checkpoint: Checkpoint) -> Path | None:
    """The folder for the files made from this checkpoint; None if the checkpoint is not on disk."""
    if not checkpoint.directory.is_dir():
        return None
    name = hashlib.blake2b(os.fsencode(checkpoint.directory.resolve()), digest_size=8).hexdigest()
    return cache_folder() / f"{checkpoint.directory.name[:32]}-{name}"


def identity(checkpoint: Checkpoint) -> str:
    """A digest of everything that repacked weights depend on: format, config, and the files' names, sizes and times."""
    stats = [(path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in checkpoint.files]
    text = json.dumps([FORMAT, asdict(checkpoint.config), stats])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def note_source(folder: Path, checkpoint: Checkpoint) -> None:
    """Record in `folder` which checkpoint its files are made from, and remove the folders of deleted checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE_NOTE).write_text(str(checkpoint.directory.resolve()), encoding="utf-8")
    for other in folder.parent.iterdir():
        source = noted_source(other)
        if source is not None and not source.is_dir():
            shutil.rmtree(other, ignore_errors=True)


def noted_source(folder: Path) -> Path | None:
    """The checkpoint that the files in `folder` are made from, which may be gone; None if that is not recorded."""
    try:
        return Path((folder / SOURCE_NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove_older(path: Path) -> None:
    """Remove the files beside `path` that hold the same part of an older version of the checkpoint."""
    part = path.name.partition("-")[0]
    for old in path.parent.glob(f"{part}-*.bin"):
        if old != path:
            old.unlink(missing_ok=True)


class Sections:
    """Named sections of a mapped file or of the process's own memory."""

    def __init__(self, memory: mmap.mmap, table: Mapping[str, tuple[int, int]]) -> None:
        self._memory = memory
        self._table = table
        self._bytes = np.frombuffer(memory, dtype=np.uint8)
        self.nbytes = sum(length for _, length in table.values())

    def __getitem__(self, name: str) -> Bytes:
        offset, length = self._table[name]
        return self._bytes[offset : offset + length]

    def address(self, name: str) -> int:
        """The address at which the section begins."""
        return int(self._bytes.ctypes.data) + self._table[name][0]

    def writer(self, name: str) -> Write:
        """A function that writes into the section; only for the process's own memory."""
        section = self[name]

        def write(offset: int, data: Bytes) -> None:
            section[offset : offset + len(data)] = data

        return write


def open_file(path: Path, sizes: Mapping[str, int]) -> Sections | None:
    """Map a complete file; None if it does not exist or its sections do not have these sizes."""
    header = _header(sizes)
    table = _layout(sizes, len(header))
    try:
        with path.open("rb") as file:
            if file.read(len(header)) != header or os.fstat(file.fileno()).st_size != _end(table):
                return None
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:
        return None
    _advise(memory)
    return Sections(memory, table)


def own_memory(sizes: Mapping[str, int]) -> Sections:
    """Sections of these sizes in anonymous memory of this process."""
    table = _layout(sizes, 0)
    memory = mmap.mmap(-1, max(_end(table), 1))
    _advise(memory)
    return Sections(memory, table)


@contextmanager
def new_file(path: Path, sizes: Mapping[str, int]) -> Iterator[Callable[[str], Write]]:
    """Write a file with sections of these sizes; it appears as `path` if the block ends without an error.

    Raises OSError, also if there is too little room. Data goes straight to the file, so that it does not count as this
    process's memory.
    """
    header = _header(sizes)
    table = _layout(sizes, len(header))
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    if (free := shutil.disk_usage(path.parent).free) < _end(table):
        raise OSError(f"{path.parent} has {format_bytes(free)} free, {format_bytes(_end(table))} are needed")
    handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
    try:
        with suppress(OSError):  # a file system without locks: leftover files stay there
            _lock(handle)
        os.truncate(handle, _end(table))
        _write_all(handle, header, 0)

        def writer(section: str) -> Write:
            begin, length = table[section]

            def write(offset: int, data: Bytes) -> None:
                if offset + len(data) > length:
                    raise ValueError(f"{len(data)} bytes at {offset} of {section}, which has {length}")
                _write_all(handle, data, begin + offset)

            return write

        yield writer
        os.fsync(handle)
        os.replace(name, path)
    finally:
        os.close(handle)
        Path(name).unlink(missing_ok=True)


def _write_all(handle: int, data: bytes | Bytes, offset: int) -> None:
    view = memoryview(data if isinstance(data, bytes) else data.data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _header(sizes: Mapping[str, int]) -> bytes:
    """The header. It holds offsets that depend on its own length, so that is fixed first, with room to spare."""
    guess = len(json.dumps({"sections": {name: [1 << 40, size] for name, size in sizes.items()}}))
    length = -(-(len(MAGIC) + 8 + guess) // _PAGE) * _PAGE
    text = json.dumps({"sections": _layout(sizes, length)}).encode().ljust(length - len(MAGIC) - 8)
    return MAGIC + len(text).to_bytes(8, "little") + text


def _layout(sizes: Mapping[str, int], start: int) -> dict[str, tuple[int, int]]:
    table: dict[str, tuple[int, int]] = {}
    for name, size in sizes.items():
        table[name] = (start, size)
        start += -(-size // _PAGE) * _PAGE
    return table


def _end(table: Mapping[str, tuple[int, int]]) -> int:
    return max((-(-(offset + length) // _PAGE) * _PAGE for offset, length in table.values()), default=0)


def _advise(memory: mmap.mmap) -> None:
    """Ask for huge pages, where the system has them for such memory: they cause fewer TLB misses."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return  # a kernel without them


def _lock(handle: int) -> None:
    """Lock a file for as long as it is open here. Raises OSError (BlockingIOError if another process has the lock)."""
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_stale(folder: Path) -> None:
    """Remove the files of writers that were killed, which may take the room that the next one needs."""
    for path in folder.glob(f"{_PARTIAL}*"):
        try:
            with path.open("rb") as file:
                _lock(file.fileno())
                path.unlink()
        except OSError:
            continue  # another process removed it, or writes it
