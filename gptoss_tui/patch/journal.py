"""Records a transaction before it touches the disk, so that a later process can finish what this one began.

A journal keeps the `Record` somewhere that outlives the process. It is notified of these events:

    opened      before anything in the tree changes; from now on, an interrupted transaction is rolled back
    committed   all names are swapped and synced; from now on, it counts as done and is only tidied up
    closed      no temporary files are left
    withdrawn   instead of the last two: the transaction was rolled back

Each must be on disk when the method returns.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gptoss_tui.errors import GptOssError
from gptoss_tui.patch.types import FileState, Write

_TOKEN_BYTES = 6
_BACKUP = re.compile(r"\.patch-[0-9a-f]+-\d+\.old")


class UnsettledError(GptOssError):
    """The journal cannot tell whether a commit reached the disk; the next start finds out and ends the transaction."""


@dataclass(frozen=True, slots=True)
class Step:
    """One path that changes, with its old and new content as SHA-256; None means no file."""

    path: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """A transaction: the token in its temporary names, its steps in order, and the folders that it creates."""

    token: str
    steps: tuple[Step, ...]
    folders: tuple[str, ...] = ()

    def staged(self, number: int) -> str:
        """The temporary name, beside the target of step `number`, of its new content."""
        return f".patch-{self.token}-{number}.new"

    def backup(self, number: int) -> str:
        """The second name of the old file of step `number`."""
        return f".patch-{self.token}-{number}.old"


def is_backup(name: str) -> bool:
    """Whether a file name is that of a transaction's backup."""
    return _BACKUP.fullmatch(name) is not None


class Journal(Protocol):
    """Where transactions are recorded. Every method raises a GptOssError or OSError when that fails."""

    def opened(self, record: Record, writes: Sequence[Write]) -> None:
        """The transaction is about to begin."""
        ...

    def committed(self, record: Record) -> None:
        """The point of no return. After an error it has not happened; after UnsettledError, that is unknown."""
        ...

    def closed(self, record: Record) -> None:
        """All temporary files are removed."""
        ...

    def withdrawn(self, record: Record) -> None:
        """The transaction was rolled back."""
        ...


class NoJournal:
    """No journal, for trees that need not survive a crash: an interrupted process can leave only some files changed."""

    def opened(self, record: Record, writes: Sequence[Write]) -> None:
        pass

    def committed(self, record: Record) -> None:
        pass

    def closed(self, record: Record) -> None:
        pass

    def withdrawn(self, record: Record) -> None:
        pass


def sha(state: FileState | None) -> str | None:
    """The hash that identifies a content in a record; None for no file."""
    return None if state is None else hashlib.sha256(state.data).hexdigest()


def new_record(writes: Sequence[Write], folders: Sequence[str]) -> Record:
    """Create a record with a new token."""
    steps = tuple(Step(write.path, sha(write.old), sha(write.new)) for write in writes)
    return Record(secrets.token_hex(_TOKEN_BYTES), steps, tuple(folders))
