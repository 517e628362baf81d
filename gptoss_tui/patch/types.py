"""The values of the patch language: what a patch says, and what it would do to a directory."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gptoss_tui.errors import PatchError

LineKind = Literal[" ", "-", "+"]
ChangeKind = Literal["A", "M", "D", "R"]


_RUNS_AS_OWNER = stat.S_ISUID | stat.S_ISGID


class OutdatedPlanError(PatchError):
    """A file is not as the plan saw it; nothing was changed. A new plan may fit."""


@dataclass(frozen=True, slots=True)
class HunkLine:
    """One line of a hunk: kept (` `), removed (`-`) or added (`+`), without the marker."""

    kind: LineKind
    text: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """One place of a file that changes.

    `number` counts from 1 in its file and `patch_line` from 1 in the patch text. `headers` are the texts of its `@@`
    lines, outermost first. `at_end` says that its last old line is the last line of the file.
    """

    number: int
    patch_line: int
    headers: tuple[str, ...]
    lines: tuple[HunkLine, ...]
    at_end: bool = False

    @property
    def old(self) -> tuple[str, ...]:
        """The lines that must be in the file."""
        return tuple(line.text for line in self.lines if line.kind != "+")

    @property
    def new(self) -> tuple[str, ...]:
        """The lines that stand there afterwards."""
        return tuple(line.text for line in self.lines if line.kind != "-")


@dataclass(frozen=True, slots=True)
class AddFile:
    """`*** Add File`: a new file of these lines."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteFile:
    """`*** Delete File`."""

    path: str


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """`*** Update File`, with `*** Move to` when `move_to` is set."""

    path: str
    hunks: tuple[Hunk, ...]
    move_to: str | None = None


@dataclass(frozen=True, slots=True)
class ReplaceText:
    """Not of the patch language: exactly `count` places of `old` in a file give way to `new`.

    An empty `old` stands for the content of a file that is empty or not there yet.
    """

    path: str
    old: str
    new: str
    count: int = 1


FileOperation = AddFile | DeleteFile | UpdateFile | ReplaceText


@dataclass(frozen=True, slots=True)
class Patch:
    """A parsed patch. `notes` name each tolerance that the parser used."""

    operations: tuple[FileOperation, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines `start`..`stop` (from 0, `stop` excluded) of a file give way to `lines`."""

    start: int
    stop: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileChange:
    """What happens to one file. Paths are relative to the root, with `/`, and go through no symbolic link.

    `A` has no `old`, `D` has no `new`, `R` has a `new_path`. `mode` holds the permission bits of the old file, None
    for a new file. `edits` lead from the old lines to the new ones and are what the diff shows.
    """

    kind: ChangeKind
    path: str
    old: bytes | None
    new: bytes | None
    mode: int | None = None
    new_path: str | None = None
    edits: tuple[Edit, ...] = ()

    @property
    def label(self) -> str:
        """The path, or `old -> new` of a move."""
        return f"{self.path} -> {self.new_path}" if self.new_path else self.path

    @property
    def writes(self) -> tuple[Write, ...]:
        """The change by names: one, or two for a move.

        What is written does not run with the rights of the file's owner, as when any program writes to such a file.
        """
        old = None if self.old is None else FileState(self.old, self.mode)
        mode = None if self.mode is None else self.mode & ~_RUNS_AS_OWNER
        new = None if self.new is None else FileState(self.new, mode)
        if self.new_path is not None:
            return (Write(self.new_path, None, new), Write(self.path, old, None))
        return (Write(self.path, old, new),)


@dataclass(frozen=True, slots=True)
class FileState:
    """A regular file: its bytes and permission bits. `mode` None: what a new file gets, or whatever it has."""

    data: bytes
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One name that goes from `old` (None: must not exist) to `new` (None: goes away)."""

    path: str
    old: FileState | None
    new: FileState | None

    def inverted(self) -> Write:
        """The way back."""
        return Write(self.path, self.new, self.old)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that applying a patch will do beneath `root`.

    `notes` are what a person should see before a yes. `protected` are the paths among them that need a yes of their
    own, each with whose behaviour it decides.
    """

    root: Path
    changes: tuple[FileChange, ...]
    notes: tuple[str, ...] = ()
    protected: tuple[tuple[str, str], ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is written, created or removed."""
        found = [path for change in self.changes for path in (change.path, change.new_path) if path]
        return tuple(dict.fromkeys(found))

    @property
    def summary(self) -> tuple[tuple[ChangeKind, str], ...]:
        """`(kind, label)` of each change, in the order of the patch."""
        return tuple((change.kind, change.label) for change in self.changes)

    @property
    def writes(self) -> tuple[Write, ...]:
        """The plan by names, in the order in which they are written: a move writes two."""
        return tuple(write for change in self.changes for write in change.writes)
