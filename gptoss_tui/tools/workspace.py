"""Reading the workspace: open it, walk its files as git sees them, and do blocking work off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from pathspec import GitIgnoreSpec

from gptoss_tui.errors import ToolError, UsageError
from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.patch.text import NotTextError, TextFile, decode
from gptoss_tui.tools.base import Workspace

_MAX_IGNORE_BYTES = 1 << 20
_MAX_DEPTH = 64
_MAX_STARS = 8
_SURROGATES = re.compile("[\ud800-\udfff]")
T = TypeVar("T")


def open_workspace(path: Path) -> Workspace:
    """Return the workspace at `path`. Raises UsageError when there is no such folder."""
    root = Path(os.path.realpath(path.expanduser()))
    if not root.is_dir():
        raise UsageError(f"{path} is not a folder.", hint="Name an existing folder with -C DIR.")
    return Workspace(root)


class Budget:
    """The time that a piece of blocking work has left: until a deadline, or until its caller gives up."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._stopped = threading.Event()

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 when it has passed or the caller gave up."""
        return 0.0 if self._stopped.is_set() else max(0.0, self._deadline - time.monotonic())

    def stop(self) -> None:
        """Make the work end the next time it checks `left`."""
        self._stopped.set()


async def in_thread(work: Callable[[Budget], T], *, seconds: float) -> T:
    """Run blocking `work` in a thread. A PathError becomes a ToolError; cancelling tells `work` to stop."""
    budget = Budget(seconds)
    try:
        return await asyncio.to_thread(work, budget)
    except asyncio.CancelledError:
        budget.stop()
        raise
    except PathError as error:
        raise ToolError(error.message) from error


def read_text(tree: Tree, path: str) -> TextFile:
    """Read the text file at a resolved path. Raises PathError, also for binary files."""
    data, _ = tree.read(path)
    try:
        return decode(data)
    except NotTextError as error:
        raise PathError(f"{path}: {error.message}") from error


def shown(line: str) -> str:
    """A line of a file as valid Unicode: each byte that is not UTF-8 becomes U+FFFD."""
    return _SURROGATES.sub("\ufffd", line)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, link or folder found by a walk. `folder` marks folders that were not entered (links, too deep).

    `status` is the status of a regular file at the time it was listed.
    """

    path: str
    folder: bool = False
    link: bool = False
    status: os.stat_result | None = None


@dataclass(slots=True)
class Walk:
    """Walks the files beneath a folder, sorted by path, without those that git ignores unless `everything` is set.

    `cut` becomes True when the budget or `max_entries` was used up before the end.
    """

    tree: Tree
    budget: Budget
    max_entries: int = 50_000
    everything: bool = False
    cut: bool = field(default=False, init=False)
    _count: int = field(default=0, init=False)

    def files(self, folder: str) -> Iterator[Entry]:
        """Walk a resolved folder (`.` is the root), even one that git ignores. Raises PathError if it is unreadable."""
        folder = "" if folder == "." else folder
        specs: list[tuple[str, GitIgnoreSpec]] = []
        parts = folder.split("/") if folder else []
        for depth in range(len(parts)):
            self._load(specs, "/".join(parts[:depth]))
            if _ignored(specs, "/".join(parts[: depth + 1]), True):
                specs.clear()
        yield from self._walk(folder, specs, 0)

    def _walk(self, folder: str, specs: list[tuple[str, GitIgnoreSpec]], depth: int) -> Iterator[Entry]:
        specs = [*specs]
        self._load(specs, folder)
        for name, status in self._scan(folder):
            if self._count >= self.max_entries or not self.budget.left:
                self.cut = True
                return
            path = f"{folder}/{name}" if folder else name
            kind = stat.S_IFMT(status.st_mode)
            is_folder = kind == stat.S_IFDIR
            if name == ".git" or _ignored(specs, path, is_folder):
                continue
            self._count += 1
            if is_folder and depth < _MAX_DEPTH:
                yield from self._walk(path, specs, depth + 1)
            elif is_folder:
                yield Entry(path, folder=True)
            elif kind == stat.S_IFLNK:
                yield from self._link(path)
            elif kind == stat.S_IFREG:
                yield Entry(path, status=status)

    def _link(self, path: str) -> Iterator[Entry]:
        """Yield a link if its target exists and is inside the workspace."""
        with contextlib.suppress(PathError):
            status = self.tree.stat(self.tree.resolve(path))
            if status is not None:
                yield Entry(path, folder=stat.S_ISDIR(status.st_mode), link=True)

    def _scan(self, folder: str) -> list[tuple[str, os.stat_result]]:
        """The sorted names in a folder with their status. An unreadable folder counts as empty, except as the first."""
        try:
            with self.tree.folder(folder) as fd, os.scandir(fd) as entries:
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            if self._count:
                return []
            raise PathError(f"{folder or '.'}: it cannot be listed ({error.strerror})") from error
        return sorted(((name, status) for name, status in found if _sendable(name)), key=itemgetter(0))

    def _load(self, specs: list[tuple[str, GitIgnoreSpec]], folder: str) -> None:
        if self.everything:
            return
        path = f"{folder}/.gitignore" if folder else ".gitignore"
        with contextlib.suppress(PathError):
            data, _ = self.tree.read(path, limit=_MAX_IGNORE_BYTES)
            lines = data.decode("utf-8", "replace").splitlines()
            specs.append((folder, GitIgnoreSpec.from_lines(line for line in lines if glob_error(line) is None)))


def glob_error(pattern: str) -> str | None:
    """Why a gitignore pattern cannot be used, or None. Too many stars make matching take exponential time."""
    if pattern.count("*") > _MAX_STARS:
        return f"it has more than {_MAX_STARS} stars"
    try:
        GitIgnoreSpec.from_lines([pattern])
    except (ValueError, re.error) as error:
        return str(error)
    return None


def _ignored(specs: list[tuple[str, GitIgnoreSpec]], path: str, is_folder: bool) -> bool:
    """Whether git ignores `path`. The deepest .gitignore with a matching pattern decides."""
    for base, spec in reversed(specs):
        relative = path[len(base) + 1 :] if base else path
        said = spec.check_file(f"{relative}/" if is_folder else relative).include
        if said is not None:
            return said
    return False


def _sendable(name: str) -> bool:
    """Whether the model could send the name back: False if it is not Unicode or has control characters."""
    return name.isprintable() or all(ord(char) >= 0x20 and not 0xD800 <= ord(char) < 0xE000 for char in name)
