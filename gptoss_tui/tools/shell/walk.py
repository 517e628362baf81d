"""Searches a workspace for files that control other programs, and for folders that cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gptoss_tui.patch.protected import plain_name, protected_by
from gptoss_tui.patch.repository import named_by

ENTRIES: Final = 50_000
"""After this many files and folders, no deeper level is searched."""

_NOT_ENTERED: Final = frozenset({"node_modules", ".venv", "__pycache__"})
_GIT: Final = ".git"

BARE_PARTS: Final = ("config", "config.worktree", "commondir", "hooks", "info", "modules", "worktrees")
"""The parts of a bare repository that git obeys: each can name a program."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a search of a workspace found. `paths` are protected: git's first, then those at the highest level.

    `closed` are folders without read permission, `unseen` those that could not be read for another reason. `named` are
    protected because a repository names them, whether they exist or not. `complete` is False when the limit ended the
    search.
    """

    paths: tuple[Path, ...]
    closed: tuple[Path, ...] = ()
    unseen: tuple[Path, ...] = ()
    named: frozenset[Path] = frozenset()
    complete: bool = True


def look_through(root: Path, *, limit: int = ENTRIES, shut: frozenset[int] | None = None) -> Seen:
    """Search everything below `root`. Protected folders and links are not entered.

    `shut` is given after a command has run: unreadable folders are then made readable for their owner, except those
    whose inode numbers are in `shut`, which are not entered. Raises OSError when `root` cannot be listed.
    """
    paths: list[Path] = []
    closed: list[Path] = []
    unseen: list[Path] = []
    count, folders = 0, [str(root)]
    while folders and count < limit:
        below: list[str] = []
        for folder in folders:
            try:
                entries = _entries(folder) if shut is None else _opened(folder)
            except OSError as error:
                if folder == str(root):
                    raise
                if not isinstance(error, FileNotFoundError | NotADirectoryError):  # otherwise it was removed meanwhile
                    (closed if isinstance(error, PermissionError) else unseen).append(Path(folder))
                continue
            count += len(entries)
            own = list(_protected(folder, entries))
            paths += map(Path, own)
            below += _below(entries, {*own}, shut or frozenset())
        folders = below
    named = frozenset(path for git in paths if git.name == _GIT for path in named_by(root, git))
    return Seen(_by_rank(root, paths, named), tuple(closed), tuple(unseen), named, complete=not folders)


def everything_in(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield everything below `folder`, each folder before its contents. Follows no links; skips unreadable folders."""
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                entries = list(found)
        except OSError:
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)


def make_usable(path: str) -> None:
    """Give the owner all rights to the folder at `path`, which must not be a link. Raises OSError."""
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRWXU)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=_name)
    if not os.access(folder, os.X_OK):  # only the names can be read
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
    return found


def _opened(folder: str) -> list[os.DirEntry[str]]:
    try:
        return _entries(folder)
    except PermissionError:
        make_usable(folder)
        return _entries(folder)


def _protected(folder: str, entries: Iterable[os.DirEntry[str]]) -> Iterator[str]:
    parent = os.path.basename(folder)
    lead = (
        "" if protected_by(parent) else f"{parent}/"
    )  # otherwise a workspace of such a name would be protected entirely
    bare = _is_bare(entries)
    for entry in entries:
        if protected_by(lead + entry.name) or (bare and plain_name(entry.name) in BARE_PARTS):
            yield entry.path


def _below(entries: Iterable[os.DirEntry[str]], own: set[str], shut: frozenset[int]) -> Iterator[str]:
    for entry in entries:
        entered = entry.path not in own and entry.name not in _NOT_ENTERED and entry.inode() not in shut
        if entered and entry.is_dir(follow_symlinks=False):
            yield entry.path


def _is_bare(entries: Iterable[os.DirEntry[str]]) -> bool:
    """Whether git takes a folder with these entries for a repository, whatever its name."""
    names = {plain_name(entry.name) for entry in entries}
    return "head" in names and ("commondir" in names or names >= {"objects", "refs"})


def _by_rank(root: Path, paths: list[Path], named: frozenset[Path]) -> tuple[Path, ...]:
    """Sort the workspace's repository first, then other repositories, so that other files cannot crowd them out."""
    repositories = {path for path in paths if path.name == _GIT}
    first = repositories | named
    every = dict.fromkeys((*paths, *(path for path in sorted(named) if os.path.lexists(path))))
    return tuple(sorted(every, key=lambda path: (path != root / _GIT, path not in first)))


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
