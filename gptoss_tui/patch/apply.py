"""A plan onto the disk, as one transaction: every file, or none.

Nothing is written over: new content is staged beside its target and synced, the old file gets a second name, and only
then names are swapped. Until the last swap everything can be put back by renaming alone, which needs no space.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from gptoss_tui.errors import PatchError
from gptoss_tui.patch.confine import PathError, Tree, is_protected
from gptoss_tui.patch.types import FileChange, Plan

_NEW_MODE = 0o666  # less the umask
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_STAGE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def apply(planned: Plan) -> None:
    """Write what `planned` says. Raises PatchError when a file changed since the plan or the disk refuses.

    After an error all files are as they were; if even that failed, the message names the files and their backups.
    """
    try:
        with Tree(planned.root) as tree:
            _Transaction(tree).run(planned.changes)
    except PathError as error:
        raise PatchError(f"The patch was not applied; nothing was changed. {error.message}.") from error


@dataclass(frozen=True, slots=True)
class _Write:
    """One name that changes: from `old` (None: must not exist) to `new` (None: goes away)."""

    path: str
    old: bytes | None
    new: bytes | None
    mode: int | None


@dataclass(frozen=True, slots=True)
class _Undo:
    """How to take one step back. `restores` names the file that is lost to the user when it fails."""

    step: Callable[[], None]
    restores: str = ""
    backup: str = ""


@dataclass(slots=True)
class _Transaction:
    tree: Tree
    _token: str = field(default_factory=lambda: secrets.token_hex(6))
    _undo: list[_Undo] = field(default_factory=list)
    _leftovers: list[Callable[[], None]] = field(default_factory=list)

    def run(self, changes: tuple[FileChange, ...]) -> None:
        writes = [write for change in changes for write in _writes(change)]
        try:
            seen = [self._verified(write) for write in writes]
            for number, write in enumerate(writes):
                if write.new is not None:
                    self._stage(write, self._name(number, "new"), seen[number])
            for number, write in enumerate(writes):
                self._swap(write, number, seen[number])
            for folder in dict.fromkeys(_folder(write.path) for write in writes):
                self._sync(folder)
        except BaseException as error:
            failed = self._roll_back()
            if isinstance(error, OSError | PatchError | PathError):
                raise _explained(error, failed) from error
            raise
        for step in self._leftovers:
            with contextlib.suppress(OSError):
                step()

    def _verified(self, write: _Write) -> os.stat_result | None:
        """The status of the file as planned. Raises PatchError when it is not what the plan saw."""
        if is_protected(write.path):
            raise PatchError(f"{write.path}: files of .git are protected.")
        if write.old is None:
            if self.tree.stat(write.path) is not None:
                raise _changed(write.path)
            return None
        data, status = self.tree.read(write.path)
        if data != write.old or stat.S_IMODE(status.st_mode) != write.mode or status.st_nlink > 1:
            raise _changed(write.path)
        return status

    def _stage(self, write: _Write, staged: str, seen: os.stat_result | None) -> None:
        """Write the new content under a temporary name in the target's folder."""
        if write.old is None:
            self._make_folders(_folder(write.path))
        with self.tree.parent(write.path) as (parent, _):
            self._write(parent, write.path, staged, write.new or b"", write.mode, seen)

    def _write(
        self, parent: int, path: str, name: str, data: bytes, mode: int | None, owner: os.stat_result | None
    ) -> None:
        fd = os.open(name, _STAGE, _NEW_MODE, dir_fd=parent)
        try:
            self._temporary(path, name)
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
            if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(fd, owner.st_uid, owner.st_gid)
            if mode is not None:
                os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _swap(self, write: _Write, number: int, seen: os.stat_result | None) -> None:
        """Give the target its new content, keeping the old file under a second name until the end."""
        staged, backup = self._name(number, "new"), self._name(number, "old")
        with self.tree.parent(write.path) as (parent, name):
            if seen is None:
                self._undo.append(_Undo(self._unlinker(write.path, name)))
                self._publish(parent, write.path, staged, name)
                return
            self._keep(parent, write, name, backup, seen)
            restore = _Undo(self._renamer(write.path, backup, name), write.path, backup)
            self._undo.append(restore)
            if write.new is None:
                os.unlink(name, dir_fd=parent)
            else:
                os.rename(staged, name, src_dir_fd=parent, dst_dir_fd=parent)

    def _publish(self, parent: int, path: str, staged: str, name: str) -> None:
        """Give a new file its name; unlike a rename, a link cannot replace what appeared there meanwhile."""
        try:
            os.link(staged, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            self._undo.pop()
            raise _changed(path) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(staged, name, src_dir_fd=parent, dst_dir_fd=parent)

    def _keep(self, parent: int, write: _Write, name: str, backup: str, seen: os.stat_result) -> None:
        """A second name for the old file; a copy where the file system has no links."""
        try:
            os.link(name, backup, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._write(parent, write.path, backup, write.old or b"", write.mode, seen)
            return
        self._temporary(write.path, backup)
        now = os.stat(backup, dir_fd=parent, follow_symlinks=False)
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (seen.st_ino, seen.st_size, seen.st_mtime_ns):
            raise _changed(write.path)

    def _make_folders(self, path: str) -> None:
        made = ""
        for part in path.split("/") if path else ():
            above, made = made, f"{made}/{part}" if made else part
            with self.tree.folder(above) as fd:
                try:
                    os.mkdir(part, dir_fd=fd)
                except FileExistsError:
                    continue
                self._undo.append(_Undo(self._remover(above, part)))

    def _name(self, number: int, role: str) -> str:
        return f".patch-{self._token}-{number}.{role}"

    def _sync(self, folder: str) -> None:
        try:
            with self.tree.folder(folder) as fd:
                os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise

    def _temporary(self, path: str, name: str) -> None:
        """`name` beside `path` goes away in the end, whatever the end is."""
        step = self._unlinker(path, name)
        self._undo.append(_Undo(step, backup=name))
        self._leftovers.append(step)

    def _unlinker(self, path: str, name: str) -> Callable[[], None]:
        def step() -> None:
            with contextlib.suppress(FileNotFoundError), self.tree.parent(path) as (parent, _):
                os.unlink(name, dir_fd=parent)

        return step

    def _renamer(self, path: str, source: str, target: str) -> Callable[[], None]:
        def step() -> None:
            with self.tree.parent(path) as (parent, _):
                os.rename(source, target, src_dir_fd=parent, dst_dir_fd=parent)

        return step

    def _remover(self, folder: str, name: str) -> Callable[[], None]:
        def step() -> None:
            with self.tree.folder(folder) as fd:
                os.rmdir(name, dir_fd=fd)

        return step

    def _roll_back(self) -> list[str]:
        """Take every step back, newest first. The files that could not be restored, each with its backup's name."""
        failed: list[str] = []
        kept: set[str] = set()
        for undo in reversed(self._undo):
            if not undo.restores and undo.backup in kept:
                continue
            try:
                undo.step()
            except OSError:
                if undo.restores:
                    kept.add(undo.backup)
                    failed.append(f"{undo.restores} (its old content is in {undo.backup} beside it)")
        return failed


def _writes(change: FileChange) -> list[_Write]:
    if change.kind == "R" and change.new_path is not None:
        moved = _Write(change.new_path, None, change.new, change.mode)
        return [moved, _Write(change.path, change.old, None, change.mode)]
    return [_Write(change.path, change.old, change.new, change.mode)]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _changed(path: str) -> PatchError:
    return PatchError(f"{path}: the file changed after the patch was shown.", hint="Read it and send the patch again.")


def _explained(error: OSError | PatchError | PathError, failed: list[str]) -> PatchError:
    if isinstance(error, OSError):
        reason, hint = f"The disk refused: {error.strerror or error}.", None
    else:
        reason, hint = error.message, error.hint
    if failed:
        kept = f"It was undone in part only. Not restored: {'; '.join(failed)}."
        return PatchError(f"The patch failed. {reason} {kept}", hint="Rename the backups by hand.")
    return PatchError(f"The patch was not applied; nothing was changed. {reason}", hint=hint)
