"""What is known of a transaction before it touches the disk, so that a later process can end what this one began.

A journal keeps the `Record` somewhere that outlives the process. It hears of a transaction four times:

    opened      before anything in the tree changes; after this, an interrupted transaction is rolled back
    committed   all names are swapped and synced; after this, it counts as done and is only tidied up
    closed      nothing temporary is left
    withdrawn   instead of the last two: it was rolled back

Each must be on the disk when it returns.
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
    """A journal cannot tell whether a commit reached the disk; the next start reads it and ends the transaction."""


@dataclass(frozen=True, slots=True)
class Step:
    """One name that changes, its content as SHA-256; None where there is no file."""

    path: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """A transaction: the token of its temporary names, its steps in order, and the folders that it makes."""

    token: str
    steps: tuple[Step, ...]
    folders: tuple[str, ...] = ()

    def staged(self, number: int) -> str:
        """The name, beside the target of step `number`, under which its new content waits."""
        return f".patch-{self.token}-{number}.new"

    def backup(self, number: int) -> str:
        """The second name of the old file of step `number`."""
        return f".patch-{self.token}-{number}.old"


def is_backup(name: str) -> bool:
    """Whether a file of that name is the old one of a transaction."""
    return _BACKUP.fullmatch(name) is not None


class Journal(Protocol):
    """Where a transaction is written down. Every method raises PatchError or OSError when it cannot."""

    def opened(self, record: Record, writes: Sequence[Write]) -> None:
        """The transaction is about to begin."""
        ...

    def committed(self, record: Record) -> None:
        """The point of no return. After an error it has not happened; UnsettledError when nobody can tell."""
        ...

    def closed(self, record: Record) -> None:
        """Everything temporary is gone."""
        ...

    def withdrawn(self, record: Record) -> None:
        """The transaction was rolled back."""
        ...


class NoJournal:
    """For trees that nobody needs after a crash: an interrupted process can leave a part of the files new."""

    def opened(self, record: Record, writes: Sequence[Write]) -> None:
        pass

    def committed(self, record: Record) -> None:
        pass

    def closed(self, record: Record) -> None:
        pass

    def withdrawn(self, record: Record) -> None:
        pass


def sha(state: FileState | None) -> str | None:
    """The hash by which a record names a content."""
    return None if state is None else hashlib.sha256(state.data).hexdigest()


def new_record(writes: Sequence[Write], folders: Sequence[str]) -> Record:
    """A record with a token of its own."""
    steps = tuple(Step(write.path, sha(write.old), sha(write.new)) for write in writes)
    return Record(secrets.token_hex(_TOKEN_BYTES), steps, tuple(folders))
