"""Where the app works, in a few words: the folder and its git branch."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePath

from gptoss_tui.sanitize import to_terminal_line

MAX_BYTES = 1024
"""How much is read of git's files; those that name a branch are shorter."""
MAX_NAME = 40
_REF = "ref: refs/heads/"


def place_of(workspace: str) -> str:
    """Returns `project · main`, or only the folder outside a repository. Reads at most two small files."""
    if not workspace:
        return ""
    name = PurePath(workspace).name or workspace
    return " · ".join(_short(part) for part in (name, branch_of(Path(workspace))) if part)


def branch_of(folder: Path) -> str:
    """The branch that is checked out, or an abbreviated commit id; empty outside a repository."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if git.is_dir():
            return _head(git)
        if (link := _read(git)).startswith("gitdir:"):  # a worktree, or a submodule
            return _head(parent / link.removeprefix("gitdir:").strip())
    return ""


def _head(git: Path) -> str:
    head = _read(git / "HEAD")
    return head.removeprefix(_REF) if head.startswith(_REF) else head[:8]


def _read(path: Path) -> str:
    """The first line of a small file; empty if it cannot be read. Never blocks, whatever is at `path`."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return ""
        return os.read(number, MAX_BYTES).decode("utf-8", "replace").partition("\n")[0].strip()
    except OSError:
        return ""
    finally:
        os.close(number)


def _short(name: str) -> str:
    safe = to_terminal_line(name)
    return safe if len(safe) <= MAX_NAME else f"{safe[: MAX_NAME - 1]}…"
