"""Looks through a workspace for files that other programs obey, and for folders that cannot be looked into."""

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
"""After so many files and folders no deeper level is looked at."""

_NOT_ENTERED: Final = frozenset({"node_modules", ".venv", "__pycache__"})
_GIT: Final = ".git"

BARE_PARTS: Final = ("config", "config.worktree", "commondir", "hooks", "info", "modules", "worktrees")
"""What git obeys in a repository that is a folder of any name: each can name a program."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look through a workspace found. `paths` are protected, those of git first, then the highest.

    `closed` are folders that may not be read, `unseen` those that could not be for another reason; `named` count since
    a repository says so, whether they are there or not. `complete` is False
    when there was too much for the rest to be looked at.
    """

    paths: tuple[Path, ...]
    closed: tuple[Path, ...] = ()
    unseen: tuple[Path, ...] = ()
    named: frozenset[Path] = frozenset()
    complete: bool = True


def look_through(root: Path, *, limit: int = ENTRIES, shut: frozenset[int] | None = None) -> Seen:
    """Look at all below `root`; protected files and folders are not entered, nor are links.

    With `shut` a command has ended: folders that may not be read are opened for their owner, but for those with these
    numbers, which are not looked into. Raises OSError when `root` cannot be listed.
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
                if not isinstance(error, FileNotFoundError | NotADirectoryError):  # else it went meanwhile
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
    """All below `folder`, a folder before what is in it, however deep; no link is followed, what is closed left out."""
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
    """Give the owner all rights to the folder at `path`, which is no link. Raises OSError."""
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRWXU)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=_name)
    if not os.access(folder, os.X_OK):  # its names can be read, but nothing else about them
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
    lead = "" if protected_by(parent) else f"{parent}/"  # in a workspace of such a name not everything is protected
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
    """Whether git takes a folder with these for a repository, whatever its name is."""
    names = {plain_name(entry.name) for entry in entries}
    return "head" in names and ("commondir" in names or names >= {"objects", "refs"})


def _by_rank(root: Path, paths: list[Path], named: frozenset[Path]) -> tuple[Path, ...]:
    """The repository of the workspace first, then other ones, so that no number of other files comes before them."""
    repositories = {path for path in paths if path.name == _GIT}
    first = repositories | named
    every = dict.fromkeys((*paths, *(path for path in sorted(named) if os.path.lexists(path))))
    return tuple(sorted(every, key=lambda path: (path != root / _GIT, path not in first)))


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
