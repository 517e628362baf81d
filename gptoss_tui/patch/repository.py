"""Finds the repository that a `.git` file points to, and what its configuration names in the workspace."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gptoss_tui.patch.git_config import entries

_MAX_BYTES: Final = 1 << 20
_MAX_FILES: Final = 50
_HOOKS: Final = "core.hookspath"


def git_folders(root: Path, git: Path) -> tuple[Path, ...]:
    """The folders of the repository that `git` is or points to; the last one contains the hooks.

    Only folders inside the workspace at `root` are returned, and none if `git` is a link.
    """
    return () if git.is_symlink() else tuple(place for place in _folders(git) if _within(place, root))


def named_by(root: Path, git: Path) -> Iterator[Path]:
    """Yield what controls git besides `git` itself: the repository's folders, and what its configuration names.

    The configuration names included files and the hooks folder, which need not exist, and existing files in values,
    such as programs. The repository may be elsewhere, and the user's own configuration counts as well. Only paths
    inside `root` are yielded.
    """
    folders = _folders(git)
    yield from (folder for folder in folders if folder != git and _within(folder, root))
    own = [folder / name for folder in folders for name in ("config", "config.worktree")]
    for place in _named([*own, *_personal()], git.parent):
        if _within(place, root) and not any(place.is_relative_to(folder) for folder in folders):
            yield place


def _folders(git: Path) -> tuple[Path, ...]:
    said = _text(git)
    folder = (_at(git, ".") if git.is_symlink() else git) if said is None else _said(git.parent, said, "gitdir:")
    common = _text(folder / "commondir")
    return (folder,) if common is None else tuple(dict.fromkeys((folder, _said(folder, common))))


def _named(files: list[Path], top: Path) -> Iterator[Path]:
    """Yield the paths that `files`, and the files they include, name for a repository whose work tree is `top`."""
    seen: set[Path] = set()
    while files and len(seen) < _MAX_FILES:
        file = files.pop()
        if file in seen:
            continue
        seen.add(file)
        for key, value in entries(_text(file) or ""):
            if not value:
                continue
            if key == "include.path" or (key.startswith("includeif.") and key.endswith(".path")):
                files.append(_at(file.parent, value))
                yield files[-1]
            elif key == _HOOKS:
                yield _at(top, value)
            elif value.startswith("!") or not key.startswith("alias."):  # other aliases name a git command
                yield from _programs(value, top)


def _programs(value: str, top: Path) -> Iterator[Path]:
    """Yield existing files that a value names if it is a command line: words with a `/`, and arguments with a `.`."""
    try:
        words = shlex.split(value.removeprefix("!"))
    except ValueError:
        words = value.removeprefix("!").split()
    for number, word in enumerate(words):
        if "/" in word or (number and "." in word):
            place = _at(top, word)
            if os.path.isfile(place):
                yield place


def _personal() -> Iterator[Path]:
    """Yield the configuration files of the machine and of the user."""
    home = Path.home()
    yield Path(os.environ.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig")
    if chosen := os.environ.get("GIT_CONFIG_GLOBAL"):
        yield Path(chosen)
    else:
        yield home / ".gitconfig"
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git/config"


def _within(place: Path, root: Path) -> bool:
    return place != root and place.is_relative_to(root)


def _said(folder: Path, text: str, prefix: str = "") -> Path:
    return _at(folder, text.strip().removeprefix(prefix).strip())


def _at(folder: Path, said: str) -> Path:
    return Path(os.path.realpath(folder / os.path.expanduser(said.replace("\0", ""))))


def _text(path: Path) -> str | None:
    """The text of a regular file; None for anything else."""
    try:
        # os.open succeeds for a folder, too, and open() then fails; with an opener, the descriptor is still closed.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return file.read(_MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return None
