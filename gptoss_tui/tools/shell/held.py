"""Finds files that a command created and that control other programs, and removes them unless the user allowed it.

Existing protected files are mounted read-only. A name that does not exist cannot be mounted on, so the workspace is
searched before and after the command: new protected files are moved to the app's own folder, where the user can find
them, and the model is told to write them with a call that asks. Nothing that was there before is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from gptoss_tui.tools.shell.protect import GIT, GIT_PROGRAMS, MOUNTS
from gptoss_tui.tools.shell.walk import Seen, everything_in, look_through, make_usable

_PLANTS: Final = (f"{GIT}/commondir", f"{GIT}/config.worktree")
"""Files that make git read another configuration; an ordinary main repository does not have them."""

_PLAN: Final = f"{GIT}/rebase-merge/git-rebase-todo"
"""The to-do list of a rebase. It can contain commands, which `git rebase --continue` runs."""
_COMMAND: Final = re.compile(rb"^\s*(exec|x)\s", re.MULTILINE)

_ALL: Final = 2_000_000
"""The search limit if a command created too many files for an ordinary search."""

_KEPT: Final = 50
"""The number of commands whose held-back files are kept."""

_COPIED: Final = 100 << 20
"""The most bytes that are copied if the app's folder is on another disk; larger files are removed, to not fill it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies the file behind a name: its device, inode number, type, and link target.

    `folder` is the inode number of its folder. `changed` is the time at which it, or anything in it, last changed, in
    nanoseconds (for links, combined with their target into a hash); 0 if no command can change it.
    """

    device: int
    number: int
    kind: int
    link: str
    folder: int
    changed: int = 0

    @property
    def file(self) -> tuple[int, int, int]:
        """An identity that stays the same when the file is moved."""
        return self.device, self.number, self.kind


@dataclass(frozen=True, slots=True)
class Survey:
    """The protected names of a workspace, with the files behind them.

    `closed` are folders that could not be read, with their inode numbers; `named` are paths that repositories name;
    `complete` says whether everything else was searched.
    """

    names: Mapping[str, Identity]
    closed: Mapping[str, int]
    named: frozenset[Path] = frozenset()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Findings:
    """Protected names that a command created or changed.

    `held` were moved to `place`, numbered in this order; `removed` were deleted because they could not be kept; `stuck`
    could not be removed; `left` are still there and the user should look at them; `unseen` folders could not be read.
    `closed` and `complete` are those of a survey. `refused` are read-only names that the output of a failed command
    mentions.
    """

    held: tuple[str, ...] = ()
    place: Path | None = None
    left: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    complete: bool = True


def survey(root: Path) -> Survey:
    """Find what is currently protected in the workspace at `root`. Raises OSError when it cannot be listed."""
    seen = look_through(root)
    closed = {str(path.relative_to(root)): status.st_ino for path in seen.closed if (status := _status(path))}
    return Survey(_names(root, seen), closed, seen.named, seen.complete)


def protected_in(known: Survey, root: Path) -> tuple[Path, ...]:
    """The paths of a survey that must be read-only: protected files in order, and folders that could not be read."""
    names = [name for name in known.names if name not in (*_PLANTS, _PLAN)]
    first = names[:1] if names[:1] == [GIT] else []
    return tuple(root / name for name in (*first, *known.closed, *names[len(first) :]))


def writable_in(root: Path) -> Path | None:
    """The first protected file that a command could write because there are too many to mount them all, or None."""
    try:
        seen = look_through(root)
    except OSError:  # nothing will run there
        return None
    return next(islice((*seen.closed, *seen.paths), MOUNTS, None), None)


def refused_in(known: Survey, text: str, *, git: bool) -> tuple[str, ...]:
    """The protected names of a survey that `text`, the output of a failed command, mentions."""
    names = [name for name in known.names if name not in (*_PLANTS, _PLAN) and not (git and name == GIT)]
    names += [f"{GIT}/{part}" for part in GIT_PROGRAMS if git]
    return tuple(name for name in names if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", text))


def hold_back(root: Path, before: Survey, *, git: bool, place: Path | None = None) -> Findings:
    """Remove protected files that are new since `before`.

    `git` means that the user allowed changes to the repository; then only files that would make git read another
    configuration are removed. `place` is the folder for all held-back files. Failures are reported in the findings,
    never raised.
    """
    shut = frozenset(before.closed.values())
    try:
        seen = look_through(root, shut=shut)
        if before.complete and not seen.complete:
            seen = look_through(root, limit=_ALL, shut=shut)
    except OSError:
        return Findings(unseen=(".",))
    removal = Removal(place or user_state_path("gptoss-tui") / "held")
    left: list[str] = []
    known = {(identity.file, identity.link) for identity in before.names.values()}
    for name, now in sorted(_names(root, seen).items()):
        was = before.names.get(name)
        if name == _PLAN:
            if was != now and _runs_commands(root / name):
                left.append(name)
        elif was is not None and (_is_the_same(was, now) or _changed_outside(was, now)):
            if was.changed != now.changed:
                left.append(name)
        elif root / name in seen.named - before.named:
            continue  # the user's own file, which only something that the command made points to
        elif name in _PLANTS:
            removal.take(root / name, name, keep=False)
        elif git or (now.file, now.link) in known or removal.place.is_relative_to(root / name):
            left.append(name)
        else:
            removal.take(root / name, name)
            if was is not None and was.link and not os.path.lexists(root / name):
                with contextlib.suppress(OSError):
                    os.symlink(was.link, root / name)
    unseen = tuple(str(path.relative_to(root)) for path in (*seen.closed, *seen.unseen))
    return removal.findings(tuple(left), unseen, complete=seen.complete)


@dataclass(slots=True)
class Removal:
    """Moves files from the workspace to a folder in `place`. A failure for one file does not affect the others."""

    place: Path
    folder: Path | None = None
    _held: list[str] = field(default_factory=list)
    _removed: list[str] = field(default_factory=list)
    _stuck: list[str] = field(default_factory=list)

    def take(self, path: Path, name: str, *, keep: bool = True) -> None:
        """Move a file away, or delete it if it cannot be kept, such as a pipe, or a file when the disk is full."""
        parent = _status(path.parent)
        for folder in (path.parent, path):
            with contextlib.suppress(OSError):
                make_usable(str(folder))
        kept = keep and self._keep(path)
        if not kept:
            _open_below(path)
            _remove(path)
        if parent is not None:
            with contextlib.suppress(OSError):
                os.chmod(path.parent, stat.S_IMODE(parent.st_mode))
        (self._stuck if os.path.lexists(path) else self._held if kept else self._removed).append(name)

    def findings(self, left: tuple[str, ...], unseen: tuple[str, ...], *, complete: bool) -> Findings:
        """Report what was done, together with the given findings."""
        held = tuple(self._held)
        place = self.folder if held else None
        return Findings(held, place, left, tuple(self._removed), tuple(self._stuck), unseen, complete=complete)

    def _keep(self, path: Path) -> bool:
        try:
            self.folder = self.folder or _new_folder(self.place)
            to = self.folder / str(len(self._held))
            if os.path.lexists(to):  # left over from an incomplete copy
                _remove(to)
            try:
                os.rename(path, to)
            except OSError as error:
                _open_below(path)
                if error.errno != errno.EXDEV or _size(path) > _COPIED:
                    raise
                shutil.move(path, to)
        except (OSError, shutil.Error, RecursionError):
            return False
        return True


def _is_the_same(was: Identity, now: Identity) -> bool:
    """Also compares link targets: a new link may have the inode number of an old one that was removed."""
    return was.file == now.file and was.link == now.link


def _changed_outside(was: Identity, now: Identity) -> bool:
    """Whether another program replaced the file: a command cannot replace a file that is mounted (links are not)."""
    return was.folder == now.folder and not was.link


def _names(root: Path, seen: Seen) -> dict[str, Identity]:
    """The protected names that were seen, with the files behind them."""
    git = root / GIT
    own = git.is_dir() and not git.is_symlink()  # a link may lead to a repository that needs such files
    plants = [root / name for name in _PLANTS if own]
    plan = [root / _PLAN] if own else []
    room = MOUNTS - len(seen.closed)
    numbered = enumerate((*seen.paths, *plants))
    found = [(path, _identity(path, mounted=number < room or path in plants)) for number, path in numbered]
    found += [(path, _identity(path, mounted=False)) for path in plan]
    return {str(path.relative_to(root)): identity for path, identity in found if identity is not None}


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _identity(path: Path, *, mounted: bool) -> Identity | None:
    try:
        status, folder = os.lstat(path), os.lstat(path.parent)
        kind = stat.S_IFMT(status.st_mode)
        link = os.readlink(path) if kind == stat.S_IFLNK else ""
    except OSError:
        return None
    linked = kind == stat.S_IFREG and status.st_nlink > 1  # it can be written through its other names
    changed = _last_change(path, status) if linked or not mounted else 0
    if link:
        changed = hash((changed, _target(path, mounted=mounted)))
    return Identity(status.st_dev, status.st_ino, kind, link, folder.st_ino, changed)


def _target(path: Path, *, mounted: bool) -> tuple[int, int, int] | None:
    """The file that a link leads to, and when it changed (0 if no command can change it); None if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, 0 if mounted else status.st_ctime_ns


def _last_change(path: Path, status: os.stat_result) -> int:
    """The last change of a file, or of anything in a folder, by ctime, which programs cannot set."""
    last = status.st_ctime_ns
    for entry in everything_in(str(path)) if stat.S_ISDIR(status.st_mode) else ():
        with contextlib.suppress(OSError):
            last = max(last, os.lstat(entry.path).st_ctime_ns)
    return last


def _new_folder(place: Path) -> Path:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(place.iterdir(), key=lambda path: path.lstat().st_mtime_ns, reverse=True)[_KEPT - 1 :]:
        _open_below(old)
        _remove(old)
    return Path(tempfile.mkdtemp(prefix="command-", dir=place))


def _runs_commands(plan: Path) -> bool:
    """Whether continuing a rebase would run a command. True for anything but a readable regular file."""
    try:
        how = os.O_NONBLOCK | os.O_NOFOLLOW
        with open(plan, "rb", opener=lambda name, flags: os.open(name, flags | how)) as file:
            return not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or bool(_COMMAND.search(file.read(_COPIED)))
    except OSError:
        return True


def _size(path: Path) -> int:
    """The total apparent size of all files below `path`, since copying a sparse file fills in its holes."""
    entries = everything_in(str(path)) if path.is_dir() and not path.is_symlink() else ()
    return os.lstat(path).st_size + sum(entry.stat(follow_symlinks=False).st_size for entry in entries)


def _open_below(path: Path) -> None:
    """Make all folders below `path` usable for their owner, so that it can be copied or removed. Follows no links."""
    for entry in everything_in(str(path)) if path.is_dir() and not path.is_symlink() else ():
        with contextlib.suppress(OSError):
            make_usable(entry.path)


def _remove(path: Path) -> None:
    """Remove `path` as far as possible. Very deep trees are left to `rm`, which does not recurse on the stack."""
    with contextlib.suppress(OSError, RecursionError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if os.path.lexists(path):
        with contextlib.suppress(OSError):
            subprocess.run(["rm", "-rf", "--", path], check=False, capture_output=True)
