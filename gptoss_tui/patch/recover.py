"""Finishes or rolls back an interrupted transaction, from its record and the state of the disk.

Both can be repeated safely: each step looks at what is there, does what is missing, and never removes content that is
neither the old nor the new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from gptoss_tui.patch import disk
from gptoss_tui.patch.confine import Tree
from gptoss_tui.patch.journal import Record, Step

_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Stuck:
    """A file that could not be restored.

    `backup` is the name beside it that has the old content, or empty. `final` means that another try would not help,
    because another program wrote to the file or its folder is gone.
    """

    path: str
    backup: str
    final: bool

    def __str__(self) -> str:
        return f"{self.path} (its old content is in {self.backup} beside it)" if self.backup else self.path


class _ForeignError(OSError):
    """Another program wrote to the file after the transaction did."""


def roll_back(tree: Tree, record: Record) -> tuple[Stuck, ...]:
    """Restore every file as it was before the transaction. Returns those that could not be restored.

    The staged files, which tell whether a new file is ours, are only removed once the restored names are synced.
    """
    stuck: list[Stuck] = []
    settled: list[int] = []
    for number, step in reversed(tuple(enumerate(record.steps))):
        try:
            _put_back(tree, record, number, step)
            settled.append(number)
        except OSError as error:
            if step.old is None and isinstance(error, _GONE):
                continue  # its folder was never created
            final = isinstance(error, (*_GONE, _ForeignError))
            stuck.append(Stuck(step.path, record.backup(number) if step.old is not None else "", final))
    sync_folders(tree, record)
    for number in settled:
        stuck += _unstage(tree, record, number)
    for folder in reversed(record.folders):
        remove_folder(tree, folder)
    sync_folders(tree, record)
    return tuple(reversed(stuck))


def tidy(tree: Tree, record: Record) -> bool:
    """Remove the temporary files of a committed transaction. Returns False if some could not be removed."""
    done = True
    for number, step in enumerate(record.steps):
        try:
            with tree.parent(step.path) as (folder, _):
                disk.remove(folder, record.staged(number))
                disk.remove(folder, record.backup(number))
        except _GONE:
            continue
        except OSError:
            done = False
    return sync_folders(tree, record) and done


def sync_folders(tree: Tree, record: Record) -> bool:
    """Sync every existing folder that the record touches. Returns False if the disk refuses."""
    done = True
    for path in folders_of(record):
        try:
            with tree.folder(path) as fd:
                disk.sync_folder(fd)
        except _GONE:
            continue
        except OSError:
            done = False
    return done


def folders_of(record: Record) -> Iterator[str]:
    """Yield the folders whose entries change, each once: those of the targets, and those that get a new folder."""
    above = (folder.rpartition("/")[0] for folder in record.folders)
    yield from dict.fromkeys([*above, *(step.path.rpartition("/")[0] for step in record.steps)])


def remove_folder(tree: Tree, path: str) -> None:
    """Remove a folder that a transaction created, if it is empty."""
    above, _, name = path.rpartition("/")
    try:
        with tree.folder(above) as fd:
            os.rmdir(name, dir_fd=fd)
    except OSError:
        return


def _put_back(tree: Tree, record: Record, number: int, step: Step) -> None:
    with tree.parent(step.path) as (folder, name):
        if step.old is None:
            _take_away(folder, name, record.staged(number))
        else:
            _restore(folder, name, record.backup(number), record.staged(number), step)


def _unstage(tree: Tree, record: Record, number: int) -> Iterator[Stuck]:
    path = record.steps[number].path
    try:
        with tree.parent(path) as (folder, _):
            if (
                disk.status(folder, record.staged(number)) is not None
            ):  # on a read-only disk even removing a missing file fails
                disk.remove(folder, record.staged(number))
    except _GONE:
        return
    except OSError:
        yield Stuck(path, "", final=False)


def _take_away(folder: int, name: str, staged: str) -> None:
    """Remove a new file if it is ours: a hard link to the staged file, or a possibly incomplete copy of it."""
    ours, there = disk.status(folder, staged), disk.status(folder, name)
    if ours is None or there is None:
        return
    if disk.same_file(ours, there) or disk.starts_like(folder, name, staged):
        disk.remove(folder, name)


def _restore(folder: int, name: str, backup: str, staged: str, step: Step) -> None:
    """Give the old file its name back, unless it still has it."""
    kept, there = disk.status(folder, backup), disk.status(folder, name)
    if kept is None:
        return
    now, waiting = disk.fingerprint(folder, name), disk.fingerprint(folder, staged)
    not_swapped = disk.same_file(kept, there) or (waiting is not None and waiting == step.new)
    if not_swapped or now == step.old:
        disk.remove(folder, backup)  # the file still has its old content, or what another program wrote
    elif now is None or now == step.new:
        if waiting not in (None, step.old) and now is not None:
            # Another program replaced the file just before the swap, which moved that file to the staged name.
            os.rename(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
            raise _ForeignError(f"{name} was replaced meanwhile")
        os.rename(backup, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        raise _ForeignError(f"{name} has other content than before and after the transaction")
