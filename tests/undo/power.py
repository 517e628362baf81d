"""Cuts the power in the middle of an edit: what was not synced is lost, kept, or kept in part, in any combination.

    python -m tests.undo.power [--samples 40] [--again 10] [--seed 1]

An edit is recorded as what it asks of the file system: names that change, bytes that are written, what is synced. A
disk that forgets is then played: a name counts for certain only after its folder was synced, bytes only after their
file was; of everything later any part may be there. From each such disk the next start must come to all old or all
new. `--again` cuts the power once more in the middle of so many of these recoveries.

The undo store's SQLite file is taken to be what SQLite promises: a commit that returned is on the disk, with the name
of its file. Ends with 1 when a workspace was neither all old nor all new.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.patch import kernel
from gptoss_tui.undo import UndoStore
from gptoss_tui.undo.journal import TurnJournal
from tests.patch.test_scenarios import snapshot
from tests.undo import crash
from tests.undo.victim import act

DATABASE = "edits.sqlite"
JOURNAL = ("opened", "committed", "closed", "withdrawn")


@dataclass(frozen=True)
class Names:
    """Names in folders that change together: `(folder, name, inode or None)`."""

    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True)
class Content:
    """A file has these bytes and this mode now."""

    inode: int
    data: bytes
    mode: int


@dataclass(frozen=True)
class Sync:
    """All that was done to this file, or to the names in this folder, is on the disk."""

    inode: int


@dataclass(frozen=True)
class Commit:
    """SQLite returned: its file has these bytes, whatever happens, and so has the folder its name."""

    folder: int
    inode: int
    data: bytes


Step = Names | Content | Sync | Commit


@dataclass
class Disk:
    """Folders and files by inode."""

    folders: dict[int, dict[str, int]] = field(default_factory=dict)
    files: dict[int, tuple[bytes, int]] = field(default_factory=dict)

    def copy(self) -> Disk:
        return Disk({number: dict(names) for number, names in self.folders.items()}, dict(self.files))

    def apply(self, step: Names | Content | Commit) -> None:
        if isinstance(step, Content):
            self.files[step.inode] = (step.data, step.mode)
            return
        if isinstance(step, Commit):
            self.folders.setdefault(step.folder, {})[DATABASE] = step.inode
            self.files[step.inode] = (step.data, 0o600)
            return
        for folder, name, inode in step.changes:
            if inode is None:
                self.folders.setdefault(folder, {}).pop(name, None)
            else:
                self.folders.setdefault(folder, {})[name] = inode

    def write(self, root: int, at: Path) -> None:
        """Make it real: files of several names have several names there, too."""
        first: dict[int, Path] = {}

        def put(inode: int, path: Path) -> None:
            if inode in self.folders:
                path.mkdir(exist_ok=True)
                for name, inner in self.folders[inode].items():
                    put(inner, path / name)
            elif inode in first:
                os.link(first[inode], path)
            else:
                data, mode = self.files.get(inode, (b"", 0o600))
                path.write_bytes(data)
                path.chmod(mode)
                first[inode] = path

        put(root, at)


class Recorder:
    """Follows an edit below `base`. Inodes are held open, so that no number comes back."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.before = Disk()
        self.steps: list[Step] = []
        self._held: dict[int, int] = {}
        self.root = self._scan(base)

    def close(self) -> None:
        for fd in self._held.values():
            os.close(fd)

    def _scan(self, path: Path) -> int:
        status = path.lstat()
        self._hold(path)
        if stat.S_ISDIR(status.st_mode):
            self.before.folders[status.st_ino] = {child.name: self._scan(child) for child in path.iterdir()}
        else:
            self.before.files[status.st_ino] = (path.read_bytes(), stat.S_IMODE(status.st_mode))
        return status.st_ino

    def _hold(self, path: Path | str, folder: int | None = None) -> int:
        fd = _REAL["open"](path, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
        inode = os.fstat(fd).st_ino
        if inode in self._held:
            os.close(fd)
        else:
            self._held[inode] = fd
        return inode

    def named(self, name: str | Path, folder: int | None) -> tuple[int, str]:
        """The inode of the folder that a name is in, and the name there."""
        if folder is not None:
            return os.fstat(folder).st_ino, str(name)
        return os.stat(Path(name).parent).st_ino, Path(name).name

    def names(self, *changes: tuple[int, str, int | None]) -> None:
        self.steps.append(Names(changes))

    def content(self, fd: int) -> None:
        status = os.fstat(fd)
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            self.steps.append(Content(status.st_ino, file.read(), stat.S_IMODE(status.st_mode)))

    def committed(self) -> None:
        """SQLite returned."""
        for path in self.base.rglob(DATABASE):
            self.steps.append(Commit(path.parent.stat().st_ino, self._hold(path), path.read_bytes()))


_REAL: dict[str, Callable[..., Any]] = {
    name: getattr(os, name)
    for name in ("open", "write", "fsync", "link", "rename", "unlink", "mkdir", "rmdir", "fchmod")
}
_EXCHANGE = kernel.exchange


@contextlib.contextmanager
def recorded(base: Path) -> Iterator[Recorder]:
    """Everything that the block does to names and files below `base`, in order."""
    log = Recorder(base)
    with pytest.MonkeyPatch.context() as patching:
        for name, wrapper in _wrappers(log).items():
            patching.setattr(os, name, wrapper)
        patching.setattr(kernel, "exchange", _exchanging(log))
        for name in JOURNAL:
            patching.setattr(TurnJournal, name, _committing(log, getattr(TurnJournal, name)))
        yield log
    log.close()


def _wrappers(log: Recorder) -> dict[str, Callable[..., Any]]:
    def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        new = bool(flags & os.O_CREAT) and not _there(path, dir_fd)
        fd: int = _REAL["open"](path, flags, mode, dir_fd=dir_fd)
        if new:
            inode = log._hold(path, dir_fd)
            if Path(path).name != DATABASE:  # SQLite looks after its own
                log.names((*log.named(path, dir_fd), inode))
                log.content(fd)
        return fd

    def write(fd: int, data: Any) -> int:
        done: int = _REAL["write"](fd, data)
        log.content(fd)
        return done

    def fchmod(fd: int, mode: int) -> None:
        _REAL["fchmod"](fd, mode)
        log.content(fd)

    def fsync(fd: int) -> None:
        _REAL["fsync"](fd)
        log.steps.append(Sync(os.fstat(fd).st_ino))

    def link(source: Any, target: Any, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        folders = {"src_dir_fd": src_dir_fd, "dst_dir_fd": dst_dir_fd, "follow_symlinks": follow_symlinks}
        _REAL["link"](source, target, **folders)
        log.names((*log.named(target, dst_dir_fd), log._hold(target, dst_dir_fd)))

    def rename(source: Any, target: Any, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        inode = log._hold(source, src_dir_fd)
        _REAL["rename"](source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        log.names((*log.named(source, src_dir_fd), None), (*log.named(target, dst_dir_fd), inode))

    def remove(name: str) -> Callable[..., None]:
        def removing(path: Any, *, dir_fd: int | None = None) -> None:
            folder = log.named(path, dir_fd)
            _REAL[name](path, dir_fd=dir_fd)
            log.names((*folder, None))

        return removing

    def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        _REAL["mkdir"](path, mode, dir_fd=dir_fd)
        inode = log._hold(path, dir_fd)
        log.before.folders.setdefault(inode, {})
        log.names((*log.named(path, dir_fd), inode))

    found: dict[str, Callable[..., Any]]
    found = {"open": open_, "write": write, "fchmod": fchmod, "fsync": fsync, "link": link, "rename": rename}
    return {**found, "mkdir": mkdir, "unlink": remove("unlink"), "rmdir": remove("rmdir")}


def _there(path: Any, folder: int | None) -> bool:
    with contextlib.suppress(FileNotFoundError):
        os.stat(path, dir_fd=folder, follow_symlinks=False)
        return True
    return False


def _exchanging(log: Recorder) -> Callable[[int, str, str], bool]:
    def exchange(folder: int, one: str, other: str) -> bool:
        inodes = [os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino for name in (one, other)]
        done = _EXCHANGE(folder, one, other)
        if done:
            place = os.fstat(folder).st_ino
            log.names((place, one, inodes[1]), (place, other, inodes[0]))
        return done

    return exchange


def _committing(log: Recorder, call: Callable[..., None]) -> Callable[..., None]:
    def wrapper(*args: Any) -> None:
        call(*args)
        log.committed()

    return wrapper


def disks(log: Recorder, at: int, rng: random.Random, samples: int) -> Iterator[Disk]:
    """What may be on the disk when the power goes after `at` steps: nothing that is not sure, all of it, parts."""
    sure, loose = _split(log, at)
    count = len(loose)
    choices: list[list[bool]] = [[False] * count, [True] * count]
    choices += [[rng.random() < 0.5 for _ in range(count)] for _ in range(samples - 2 if count else -1)]
    seen: set[tuple[bool, ...]] = set()
    for kept in choices:
        if tuple(kept) in seen:
            continue
        seen.add(tuple(kept))
        disk = sure.copy()
        for step, keep in zip(loose, kept, strict=True):
            if keep:
                disk.apply(_torn(step, rng) if isinstance(step, Content) else step)
        yield disk


def _split(log: Recorder, at: int) -> tuple[Disk, list[Names | Content]]:
    """What is surely on the disk, and what may be, in order."""
    synced_until: dict[int, int] = {}
    for number, step in enumerate(log.steps[:at]):
        if isinstance(step, Sync):
            synced_until[step.inode] = number
    sure, loose = log.before.copy(), list[Names | Content]()
    for number, step in enumerate(log.steps[:at]):
        if isinstance(step, Sync):
            continue
        if isinstance(step, Commit):
            sure.apply(step)
            continue
        owners = [step.inode] if isinstance(step, Content) else [folder for folder, _, _ in step.changes]
        if all(synced_until.get(owner, -1) > number for owner in owners):
            sure.apply(step)
        else:
            loose.append(step)
    return sure, loose


def _torn(step: Content, rng: random.Random) -> Content:
    """Bytes that were not synced: all, a part, or zeros of the same length."""
    part = step.data[: rng.randrange(len(step.data) + 1)]
    data = rng.choice((step.data, step.data, part, part + bytes(len(step.data) - len(part)), b""))
    return Content(step.inode, data, step.mode)


@dataclass
class Tally:
    """How many disks were tried, and what was wrong."""

    tried: int = 0
    halves: int = 0
    wrong: list[str] = field(default_factory=list)


def run(base: Path, action: str, *, samples: int, again: int = 0, seed: int = 1) -> Tally:
    """Cut the power after each step of `action`."""
    rng = random.Random(seed)
    stage = crash.set_stage(base, action, trace=False)
    root, state = stage.fresh()
    with recorded(base / "now") as log:
        act(action, root, state)
    tally = Tally()
    halves: list[Disk] = []
    for at in range(len(log.steps) + 1):
        for disk in disks(log, at, rng, samples):
            _look(stage, disk, log.root, f"{action}, step {at} of {len(log.steps)}", tally, at == len(log.steps))
            halves += [disk] if tally.halves > len(halves) else []
    for number, disk in enumerate(rng.sample(halves, min(again, len(halves)))):
        _renew(stage.base, disk, log.root)
        with recorded(base / "now") as second:
            UndoStore(root, state).recover()
        for at in range(len(second.steps) + 1):
            for later in disks(second, at, rng, max(3, samples // 4)):
                _look(stage, later, second.root, f"{action}, recovery {number}, step {at}", tally, ended=False)
    return tally


def _renew(base: Path, disk: Disk, root: int) -> None:
    shutil.rmtree(base / "now", ignore_errors=True)
    disk.write(root, base / "now")


def _look(stage: crash.Stage, disk: Disk, root: int, where: str, tally: Tally, ended: bool) -> None:
    """One next start after the cut. An edit that had said that it was done has to be there."""
    _renew(stage.base, disk, root)
    at = stage.base / "now/root"
    tally.tried += 1
    tally.halves += snapshot(at) not in (stage.old, stage.new)
    UndoStore(at, stage.base / "now/state").recover()
    now = snapshot(at)
    if now not in (stage.old, stage.new) or (ended and now != stage.new):
        names = sorted(name for name in {*now, *stage.old} if now.get(name) != stage.old.get(name))
        tally.wrong.append(f"{where}: {'not what was done' if ended else 'neither old nor new'}: {names}")


def main() -> int:
    """Run all actions and print what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--again", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failed = 0
    for action in crash.ACTIONS:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            tally = run(Path(folder), action, samples=args.samples, again=args.again, seed=args.seed)
        print(
            f"{action}: {tally.tried} disks, {tally.halves} of them half an edit, {len(tally.wrong)} wrong afterwards"
        )
        for line in tally.wrong[:20]:
            print(f"  {line}")
        failed += len(tally.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
