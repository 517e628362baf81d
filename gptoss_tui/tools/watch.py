"""Finds what commands and other programs change in the workspace, by a look before and after, so that it can be undone.

Before a command runs, the contents of all files that git does not ignore are kept in memory, compressed; a file that
has not changed since the last look is not read again. Afterwards, files with another inode, size or time are compared.
Ignored files, `.git`, links, permission bits, files with several hard links, and whatever exceeds the limits are left
out.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.patch.types import FileState, Write
from gptoss_tui.tools.workspace import Budget, Walk

_SECONDS: Final = 5.0
_CLOCK_SLACK: Final = 100_000_000
"""Nanoseconds by which the times of files may lag behind the clock."""
_TIMES_AROUND: Final = 2
"""How often a file is read that changes while it is read; after that it is left out."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on what is kept: bytes of one file, bytes of all files (both uncompressed), and number of entries."""

    file: int = 2 << 20
    total: int = 64 << 20
    entries: int = 20_000


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed between two looks.

    `writes` can be undone, together with the `folders` that were made for them. `missed` are changed files whose
    contents are not known. `cut` means that there were more files than could be looked at.
    """

    writes: tuple[Write, ...] = ()
    folders: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    cut: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The files whose changes can be undone."""
        return tuple(write.path for write in self.writes)


Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was: its identity, its mode, and its compressed content unless it is too large."""

    signature: Signature
    mode: int
    size: int
    packed: bytes | None

    def state(self) -> FileState | None:
        return None if self.packed is None else FileState(zlib.decompress(self.packed), self.mode)


@dataclass(frozen=True, slots=True)
class _View:
    """All files at one time. `began` is in nanoseconds, by the clock that dates files."""

    files: Mapping[str, _Seen] = field(default_factory=dict)
    cut: bool = False
    began: int = 0


@dataclass(slots=True)
class Watch:
    """Looks at the workspace at `root`. All methods block; looks from several threads are serialized."""

    root: Path
    bounds: Bounds = field(default_factory=Bounds)
    _view: _View = field(default_factory=_View, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def look(self) -> None:
        """Remember the current state of all files."""
        with self._lock:
            self._view = self._now()

    def changes(self) -> Changes:
        """Return what changed since the last look. This counts as a look, too."""
        with self._lock:
            before, self._view = self._view, self._now()
            try:
                with Tree(self.root) as tree:
                    return _compared(before, self._view, tree)
            except PathError:
                return Changes(cut=True)

    def _now(self) -> _View:
        """The current state of every file. A workspace that cannot be read counts as cut."""
        began = time.time_ns() - _CLOCK_SLACK
        found: dict[str, _Seen] = {}
        room = self.bounds.total
        try:
            with Tree(self.root) as tree:
                walk = Walk(tree, Budget(_SECONDS), self.bounds.entries)
                for entry in walk.files("."):
                    if entry.status is not None and not entry.link:
                        seen = self._file(tree, entry.path, entry.status, room)
                        found[entry.path] = seen
                        room -= seen.size if seen.packed is not None else 0
                return _View(found, walk.cut, began)
        except PathError:
            return _View(found, cut=True, began=began)

    def _file(self, tree: Tree, path: str, status: os.stat_result, room: int) -> _Seen:
        signature, mode = _signature(status), stat.S_IMODE(status.st_mode)
        known = self._view.files.get(path)
        if known is not None and known.signature == signature and (known.packed is None or known.size <= room):
            return known
        if status.st_size <= min(self.bounds.file, room) and status.st_nlink == 1:
            for _ in range(_TIMES_AROUND):
                try:
                    data, read = tree.read(path, limit=self.bounds.file)
                    after = tree.stat(path)
                except PathError:
                    break
                if after is not None and _signature(read) == _signature(after) and len(data) == after.st_size:
                    return _Seen(_signature(after), mode, len(data), zlib.compress(data, 1))
        return _Seen(signature, mode, status.st_size, None)


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _compared(before: _View, after: _View, tree: Tree) -> Changes:
    writes: list[Write] = []
    missed: list[str] = []
    cut = before.cut or after.cut
    for path in sorted({*before.files, *after.files}):
        old, new = before.files.get(path), after.files.get(path)
        if old is not None and new is not None and old.signature == new.signature:
            continue
        if not _was_done(old, new, path, before.began, tree, cut=cut):
            continue
        states = [None if seen is None else seen.state() for seen in (old, new)]
        if any(seen is not None and state is None for seen, state in zip((old, new), states, strict=True)):
            missed.append(path)
        elif states[0] is None or states[1] is None or states[0].data != states[1].data:
            writes.append(Write(path, *states))
    return Changes(tuple(writes), tuple(_made(writes, before.files)), tuple(missed), cut)


def _was_done(old: _Seen | None, new: _Seen | None, path: str, began: int, tree: Tree, *, cut: bool) -> bool:
    """Whether a file was really created or removed.

    It may only have come into or gone out of view, because what git ignores changed. Undoing a "creation" of that kind
    would remove a file that was there all the time.
    """
    if new is None:
        try:
            return tree.stat(path) is None
        except PathError:
            return False
    if old is None:
        return not cut and new.signature[-1] >= began
    return True


def _made(writes: list[Write], before: Mapping[str, _Seen]) -> Iterator[str]:
    """Yield the folders of new files that contained no files before, outer ones first."""
    known = {parent for path in before for parent in _parents(path)}
    new = {parent for write in writes if write.old is None for parent in _parents(write.path)}
    yield from sorted(new - known)


def _parents(path: str) -> Iterator[str]:
    yield from (path[:at] for at, char in enumerate(path) if char == "/")
