"""What a command made that other programs obey, found when it has ended, and taken away unless a person allowed it.

Protected files that are there are mounted read-only. A name that is not there cannot be mounted on, so the workspace is
looked at before and after: what is new is moved to the app's own folder, where a person finds it, and the model is told
to write it with a call that asks. Nothing that was there before is taken away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from gptoss_tui.tools.shell.protect import GIT, MOUNTS, protected_files

_PLANTS: Final = (f"{GIT}/commondir", f"{GIT}/config.worktree")
"""Files that send git to another configuration; no repository of its own has them."""


_KEPT: Final = 50
"""Of so many commands what was held back is kept."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file a name stands for: its device, number, type, and where a link leads.

    `folder` is the number of the folder that it is in. `changed` is when it or something in it changed last, in
    nanoseconds; 0 for what no command can change.
    """

    device: int
    number: int
    kind: int
    link: str
    folder: int
    changed: int = 0

    @property
    def file(self) -> tuple[int, int, int]:
        """The same for a file that was moved."""
        return self.device, self.number, self.kind


Survey = Mapping[str, Identity]
"""The protected names of a workspace and what they stand for."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Protected names that a command made or changed: those that were taken away, where they are now, the others."""

    held: tuple[str, ...] = ()
    place: Path | None = None
    left: tuple[str, ...] = ()


def survey(root: Path) -> Survey:
    """What is protected in the workspace at `root` now, the highest first."""
    git = root / GIT
    own = git.is_dir() and not git.is_symlink()  # a link may lead to a repository that has such files for good reason
    plants = [root / name for name in _PLANTS if own]
    numbered = enumerate((*protected_files(root), *plants))
    found = ((path, _identity(path, mounted=number < MOUNTS or path in plants)) for number, path in numbered)
    return {str(path.relative_to(root)): identity for path, identity in found if identity is not None}


def protected_in(known: Survey, root: Path) -> tuple[Path, ...]:
    """The protected files of a survey, in its order."""
    return tuple(root / name for name in known if name not in _PLANTS)


def hold_back(root: Path, before: Survey, *, git: bool, place: Path | None = None) -> Findings:
    """Take away what is protected and new since `before`. With `git` a person allowed that the repository changes.

    Then only what would send git to another configuration goes. `place` is the folder for all that is held.
    """
    held: list[str] = []
    left: list[str] = []
    known = {identity.file for identity in before.values()}
    folder: Path | None = None
    for name, now in sorted(survey(root).items()):
        was = before.get(name)
        if was is not None and (was.file == now.file or _changed_outside(was, now)):
            if was.changed != now.changed:
                left.append(name)
        elif name in _PLANTS:
            with contextlib.suppress(OSError):  # gone, or a folder, which git cannot read
                os.unlink(root / name)
            held.append(name)
        elif git or now.file in known:
            left.append(name)
        else:
            folder = folder or _new_folder(place or user_state_path("gptoss-tui") / "held")
            _move(root / name, folder / name)
            if was is not None and was.link:
                os.symlink(was.link, root / name)
            held.append(name)
    return Findings(tuple(held), folder, tuple(left))


def _changed_outside(was: Identity, now: Identity) -> bool:
    """A file in the same folder that is another one: no command can do that to what is mounted. Links are not."""
    return was.folder == now.folder and not was.link


def _identity(path: Path, *, mounted: bool) -> Identity | None:
    try:
        status, folder = os.lstat(path), os.lstat(path.parent)
        kind = stat.S_IFMT(status.st_mode)
        link = os.readlink(path) if kind == stat.S_IFLNK else ""
    except OSError:
        return None
    changed = 0 if mounted else _last_change(path, status)
    return Identity(status.st_dev, status.st_ino, kind, link, folder.st_ino, changed)


def _last_change(path: Path, status: os.stat_result) -> int:
    """By the inodes, whose time no program sets."""
    last = status.st_ctime_ns
    for folder, folders, files in os.walk(path) if stat.S_ISDIR(status.st_mode) else ():
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                last = max(last, os.lstat(os.path.join(folder, name)).st_ctime_ns)
    return last


def _new_folder(place: Path) -> Path:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(place.iterdir(), key=lambda path: path.lstat().st_mtime_ns, reverse=True)[_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="command-", dir=place))


def _move(path: Path, to: Path) -> None:
    """Out of the workspace; what cannot be kept, such as a pipe, is removed."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.move(path, to)
    except (OSError, shutil.Error):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
