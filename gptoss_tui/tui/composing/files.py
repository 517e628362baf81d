"""The workspace's files for `@` mentions: listed by git where possible, off the event loop and within bounds.

In a git repository git itself lists them: it is fastest, and it knows every ignore rule. Elsewhere the tools' own
directory walk is used. The repository is not trusted: configuration that could start a program is overridden.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.tools.workspace import Budget, Walk
from gptoss_tui.tui.composing.fuzzy import FuzzyIndex, Match

MAX_FILES = 200_000
MAX_BYTES = 32_000_000
FRESH_SECONDS = 5.0
FRESH_SHARE = 20.0
"""A slow listing is kept for this many times as long as it took, so that a large folder is not listed all the time."""
SCAN_SECONDS = 10.0

_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "-c", "core.hooksPath=/dev/null")
_LIST = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")


@dataclass(frozen=True, slots=True)
class Files:
    """Paths relative to the workspace; folders end with `/`. `cut` means that there are more than were listed."""

    index: FuzzyIndex
    cut: bool = False


class FileFinder:
    """Searches the files of one workspace. The listing is kept, and renewed once it is older than FRESH_SECONDS.

    To be used from threads; a newer search makes an older one end without a result.
    """

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self.root = root
        self.scans = 0
        self._clock = clock
        self._files: Files | None = None
        self._read_at = self._took = 0.0
        self._lock = threading.Lock()
        self._latest = 0

    def search(self, query: str, limit: int) -> list[Match]:
        """The best matches, best first. Call it in a thread, because the first search waits for the listing."""
        self._latest = number = self._latest + 1
        return self._current().index.search(query, limit, lambda: self._latest != number)

    def _current(self) -> Files:
        with self._lock:
            began = self._clock()
            if self._files is None or began - self._read_at > max(FRESH_SECONDS, FRESH_SHARE * self._took):
                self.scans += 1
                self._files, self._read_at = list_files(self.root), self._clock()
                self._took = self._read_at - began
            return self._files


def list_files(root: Path) -> Files:
    """The files below `root` that git does not ignore, and their folders. Never raises; the listing may be empty."""
    found = _listed_by_git(root)
    paths, cut = found if found and found[0] else _walked(root)
    paths = [path for path in paths if path and "\n" not in path]
    return Files(FuzzyIndex(sorted({*paths, *_folders(paths)}, key=lambda path: (path.count("/"), path))), cut)


def _listed_by_git(root: Path) -> tuple[list[str], bool] | None:
    git = shutil.which("git")
    if git is None:
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        with subprocess.Popen(
            [git, *_GIT[1:], "-C", str(root), *_LIST],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        ) as process:
            timer = threading.Timer(SCAN_SECONDS, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                data = process.stdout.read(MAX_BYTES + 1)
                if len(data) > MAX_BYTES:
                    process.kill()
            finally:
                timer.cancel()
    except OSError:
        return None
    cut = len(data) > MAX_BYTES or process.returncode < 0
    if process.returncode != 0 and not cut:
        return None
    names = data[: data.rfind(b"\0") + 1].split(b"\0")
    cut = cut or len(names) > MAX_FILES
    return [os.fsdecode(name) for name in names[:MAX_FILES] if name], cut


def _walked(root: Path) -> tuple[list[str], bool]:
    try:
        with Tree(root) as tree:
            walk = Walk(tree, Budget(SCAN_SECONDS), max_entries=MAX_FILES)
            return [entry.path for entry in walk.files(".")], walk.cut
    except PathError:
        return [], False


def _folders(paths: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in seen:
            seen.add(folder)
            yield f"{folder}/"
            folder = folder.rpartition("/")[0]
