"""Where the repository of a `.git` is, when that is a file, and what its configuration names in the workspace."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAX_BYTES: Final = 1 << 20
_NAMED: Final = re.compile(r"^[ \t]*(hookspath|path)[ \t]*=[ \t]*\"?([^\"\n#;]+)", re.IGNORECASE | re.MULTILINE)


def git_folders(root: Path, git: Path) -> tuple[Path, ...]:
    """The folders in the workspace at `root` of the repository that `git` is or says; the last has its hooks.

    None for a link, and for what lies elsewhere or holds the workspace itself.
    """
    if git.is_symlink():
        return ()
    said = _text(git)
    folder = git if said is None else _at(git.parent, said.strip().removeprefix("gitdir:").strip())
    common = _text(folder / "commondir")
    places = (folder,) if common is None else (folder, _at(folder, common.strip()))
    return tuple(dict.fromkeys(place for place in places if place.is_relative_to(root) and place != root))


def named_by(root: Path, git: Path) -> Iterator[Path]:
    """What decides about git beside `git` itself: the repository's folders, and what its configuration names."""
    folders = git_folders(root, git)
    yield from (folder for folder in folders if folder != git)
    for folder in folders:
        for name, value in _NAMED.findall(_text(folder / "config") or ""):
            place = _at(git.parent if name.lower() == "hookspath" else folder, value.strip())
            if place.is_relative_to(root) and place != root and not any(place.is_relative_to(one) for one in folders):
                yield place


def _at(folder: Path, said: str) -> Path:
    return Path(os.path.realpath(folder / os.path.expanduser(said.replace("\0", ""))))


def _text(path: Path) -> str | None:
    """The text of a regular file; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return file.read(_MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return None
