"""Writes a plan to disk as one transaction: every file, or none.

Nothing is overwritten. First, all new content is staged beside its targets, old files get second names, and both are
synced; up to here, nothing visible has changed. Then names are swapped and the journal is marked as committed: this is
the point of no return. Temporary files are removed last. Until the commit, everything can be restored by renaming
alone, which needs no disk space; `recover.py` does that, in this process or the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui.errors import GptOssError, PatchError
from gptoss_tui.patch import disk, kernel
from gptoss_tui.patch.confine import MAX_FILE_BYTES, PathError, Tree
from gptoss_tui.patch.journal import Journal, NoJournal, Record, UnsettledError, new_record
from gptoss_tui.patch.protected import protected_by, reason
from gptoss_tui.patch.recover import Stuck, folders_of, roll_back, tidy
from gptoss_tui.patch.types import FileState, OutdatedPlanError, Plan, Write

REFUSED = "The patch was not applied; nothing was changed."

_NEW_MODE = 0o666  # less the umask
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_STAGE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _RefusedError(GptOssError):
    """The transaction did not happen; all files are unchanged."""


class _ChangedError(_RefusedError):
    """The transaction did not happen because a file is not as the plan saw it."""


def apply(planned: Plan, journal: Journal | None = None) -> None:
    """Write a plan. Raises OutdatedPlanError when a file changed since, and PatchError when the disk refuses.

    After an error all files are as they were before; if restoring them failed, the message names the files and their
    backups. Only with a `journal` can the next start finish or undo what a killed process began.
    """
    write(planned.root, planned.writes, journal, protected=bool(planned.protected))


def undo(planned: Plan, journal: Journal | None = None) -> None:
    """Restore every file as it was before the plan was applied. Raises PatchError when one changed since."""
    writes = [step.inverted() for step in reversed(planned.writes)]
    write(planned.root, writes, journal, protected=bool(planned.protected))


def write(
    root: Path,
    writes: Sequence[Write],
    journal: Journal | None = None,
    *,
    refused: str = REFUSED,
    protected: bool = False,
) -> None:
    """Do all of `writes`, each to a different path, or none of them. `apply` and `undo` are built on this.

    Raises PatchError, or OutdatedPlanError for a file that changed; if nothing was changed, the message begins with
    `refused`. `protected` means that the user approved writing files that control other programs.
    """
    try:
        with Tree(root) as tree:
            for step in writes:
                if not protected and (owner := protected_by(step.path)):
                    raise _RefusedError(f"{reason(step.path, owner)}, and nobody approved that.")
            seen = [_verified(tree, step) for step in writes]
            record = new_record(writes, _missing_folders(tree, writes))
            _Transaction(tree, record, writes, seen, journal or NoJournal()).run()
    except PathError as error:
        raise PatchError(f"{refused} {error.message}.") from error
    except _RefusedError as error:
        kind = OutdatedPlanError if isinstance(error, _ChangedError) else PatchError
        raise kind(f"{refused} {error.message}", hint=error.hint) from error.__cause__


@dataclass(slots=True)
class _Transaction:
    tree: Tree
    record: Record
    writes: Sequence[Write]
    seen: Sequence[os.stat_result | None]
    journal: Journal

    def run(self) -> None:
        """Run the transaction. Raises _RefusedError, or PatchError when rolling back failed as well."""
        try:
            self.journal.opened(self.record, self.writes)
            self._prepare()
            self._swap()
            self.journal.committed(self.record)
        except UnsettledError as error:
            raise PatchError(error.message, hint=error.hint) from error
        except BaseException as error:
            stuck = self._back_out()
            if isinstance(error, OSError | GptOssError):
                raise self._explained(error, stuck) from error
            raise
        if tidy(self.tree, self.record):
            with contextlib.suppress(
                OSError, GptOssError
            ):  # what is left in the journal is tidied up at the next start
                self.journal.closed(self.record)

    def _back_out(self) -> tuple[Stuck, ...]:
        stuck = roll_back(self.tree, self.record)
        if not stuck:
            with contextlib.suppress(OSError, GptOssError):  # rolling back again at the next start does no harm
                self.journal.withdrawn(self.record)
        return stuck

    def _explained(self, error: OSError | GptOssError, stuck: Sequence[Stuck]) -> GptOssError:
        if isinstance(error, GptOssError):
            reason, hint = error.message, error.hint
        else:
            reason, hint = f"The disk refused: {error.strerror or error}.", None
        if not stuck:
            kind = _ChangedError if isinstance(error, _ChangedError) else _RefusedError
            return kind(reason, hint=hint)
        names = f"It was undone in part only. Not restored: {'; '.join(map(str, stuck))}."
        by_hand = isinstance(self.journal, NoJournal) or all(item.final for item in stuck)
        hint = "Rename the backups by hand." if by_hand else "It is tried again at the next start."
        return PatchError(f"The patch failed. {reason} {names}", hint=hint)

    def _prepare(self) -> None:
        """Do everything that needs disk space: stage the new content beside the targets, and sync it."""
        for made in self.record.folders:
            above, _, name = made.rpartition("/")
            with self.tree.folder(above) as fd, contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=fd)
        for number, (step, seen) in enumerate(zip(self.writes, self.seen, strict=True)):
            if step.new is None:
                continue
            with self.tree.parent(step.path) as (folder, name):
                _write(folder, self.record.staged(number), step.new, seen, name if seen is not None else None)
                if seen is not None and step.old is not None:
                    _keep(folder, name, self.record.backup(number), step.old, seen)
        self._sync()

    def _swap(self) -> None:
        """Give each target its new content, then check that no other program wrote to an old file meanwhile."""
        for number, (step, seen) in enumerate(zip(self.writes, self.seen, strict=True)):
            staged, backup = self.record.staged(number), self.record.backup(number)
            with self.tree.parent(step.path) as (folder, name):
                if seen is None:
                    _publish(folder, staged, name, step)
                elif step.new is None:
                    _set_aside(folder, name, backup, seen, step.path)
                else:
                    _replace(folder, staged, name, seen, step.path)
        self._sync()
        for number, (step, seen) in enumerate(zip(self.writes, self.seen, strict=True)):
            with self.tree.parent(step.path) as (folder, _):
                kept = disk.status(folder, self.record.backup(number)) if seen else None
                if seen and kept and disk.same_file(kept, seen) and not disk.unchanged(seen, kept):
                    raise _changed(step.path)

    def _sync(self) -> None:
        for path in folders_of(self.record):
            with self.tree.folder(path) as fd:
                disk.sync_folder(fd)


def _verified(tree: Tree, step: Write) -> os.stat_result | None:
    """Return the status of the file, None for a new one. Raises _ChangedError if it is not as the plan saw it."""
    if step.old is None:
        if tree.stat(step.path) is not None:
            raise _changed(step.path)
        return None
    data, status = tree.read(step.path, limit=max(len(step.old.data), MAX_FILE_BYTES))
    mode = stat.S_IMODE(status.st_mode)
    if data != step.old.data or step.old.mode not in (None, mode) or status.st_nlink > 1:
        raise _changed(step.path)
    return status


def _missing_folders(tree: Tree, writes: Sequence[Write]) -> list[str]:
    """The folders that have to be created, outer ones first."""
    missing: dict[str, None] = {}
    for step in writes:
        if step.old is None:
            for at, char in enumerate(step.path):
                if char == "/" and step.path[:at] not in missing and tree.stat(step.path[:at]) is None:
                    missing[step.path[:at]] = None
    return list(missing)


def _write(folder: int, name: str, content: FileState, owner: os.stat_result | None, like: str | None = None) -> None:
    """Write and sync a new file, with the old file's owner and mode, and the extended attributes of the file `like`."""
    fd = os.open(name, _STAGE, _NEW_MODE, dir_fd=folder)
    try:
        left = memoryview(content.data)
        while left:
            left = left[os.write(fd, left) :]
        if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            with contextlib.suppress(PermissionError):
                os.fchown(fd, owner.st_uid, owner.st_gid)
        if like is not None:
            disk.copy_attributes(folder, like, fd)
        mode = content.mode if content.mode is not None or owner is None else stat.S_IMODE(owner.st_mode)
        if mode is not None:
            os.fchmod(fd, mode)
        disk.sync(fd)
    finally:
        os.close(fd)


def _keep(folder: int, name: str, backup: str, old: FileState, seen: os.stat_result) -> None:
    """Give the old file a second name, or copy it if the file system has no hard links."""
    try:
        os.link(name, backup, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _write(folder, backup, old, seen, name)


def _publish(folder: int, staged: str, name: str, step: Write) -> None:
    """Give a new file its name, without replacing a file that may have appeared there meanwhile."""
    try:
        os.link(staged, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise _changed(step.path) from None
    except OSError as error:
        if error.errno not in _NO_LINKS or step.new is None:
            raise
        try:
            _write(folder, name, step.new, None)
        except FileExistsError:
            raise _changed(step.path) from None


def _replace(folder: int, staged: str, name: str, seen: os.stat_result, path: str) -> None:
    """Swap the target with its new content. If the target turns out to be another file than planned, swap back."""
    now = disk.status(folder, name)
    if now is None or not disk.unchanged(seen, now):
        raise _changed(path)
    if not kernel.exchange(folder, staged, name):
        os.rename(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    taken = disk.status(folder, staged)
    if taken is None or not disk.same_file(taken, seen):
        kernel.exchange(folder, staged, name)
        raise _changed(path)


def _set_aside(folder: int, name: str, backup: str, seen: os.stat_result, path: str) -> None:
    """Remove a file by renaming it, so that it can still be checked and restored."""
    os.rename(name, backup, src_dir_fd=folder, dst_dir_fd=folder)
    taken = disk.status(folder, backup)
    if taken is None or not disk.unchanged(seen, taken):
        raise _changed(path)


def _changed(path: str) -> _ChangedError:
    return _ChangedError(
        f"{path}: the file changed after the patch was shown.", hint="Read it and send the patch again."
    )
