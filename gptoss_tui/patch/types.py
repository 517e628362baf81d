"""The data types of the patch language: what a patch says, and what it would do to a directory."""

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
    """A file is no longer as the plan saw it; nothing was changed. A new plan may work."""


@dataclass(frozen=True, slots=True)
class HunkLine:
    """One line of a hunk: kept (` `), removed (`-`) or added (`+`), without the marker."""

    kind: LineKind
    text: str


@dataclass(frozen=True, slots=True)
class Hunk:
    """A change at one place of a file.

    `number` counts from 1 within the file, and `patch_line` from 1 within the patch text. `headers` are the texts of
    its `@@` lines, outermost first. `at_end` means that its last old line is the last line of the file.
    """

    number: int
    patch_line: int
    headers: tuple[str, ...]
    lines: tuple[HunkLine, ...]
    at_end: bool = False

    @property
    def old(self) -> tuple[str, ...]:
        """The lines that must be in the file before the change."""
        return tuple(line.text for line in self.lines if line.kind != "+")

    @property
    def new(self) -> tuple[str, ...]:
        """The lines that replace them."""
        return tuple(line.text for line in self.lines if line.kind != "-")


@dataclass(frozen=True, slots=True)
class AddFile:
    """`*** Add File`: a new file with these lines."""

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
    """Replaces exactly `count` occurrences of `old` in a file by `new`. Not part of the patch language.

    An empty `old` stands for the content of a file that is empty or does not exist yet.
    """

    path: str
    old: str
    new: str
    count: int = 1


FileOperation = AddFile | DeleteFile | UpdateFile | ReplaceText


@dataclass(frozen=True, slots=True)
class Patch:
    """A parsed patch. `notes` describe each deviation from the format that the parser tolerated."""

    operations: tuple[FileOperation, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces lines `start`..`stop` (from 0, `stop` excluded) of a file by `lines`."""

    start: int
    stop: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileChange:
    """The change of one file. Paths are relative to the root, use `/`, and contain no symbolic links.

    `A` (add) has no `old`, `D` (delete) has no `new`, and `R` (rename) has a `new_path`. `mode` holds the permission
    bits of the old file, None for a new file. `edits` turn the old lines into the new ones and are what the diff shows.
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
        """The path, or `old -> new` for a move."""
        return f"{self.path} -> {self.new_path}" if self.new_path else self.path

    @property
    def writes(self) -> tuple[Write, ...]:
        """The writes that make up the change: one, or two for a move.

        Setuid and setgid bits are dropped, as the kernel does when a program writes to such a file.
        """
        old = None if self.old is None else FileState(self.old, self.mode)
        mode = None if self.mode is None else self.mode & ~_RUNS_AS_OWNER
        new = None if self.new is None else FileState(self.new, mode)
        if self.new_path is not None:
            return (Write(self.new_path, None, new), Write(self.path, old, None))
        return (Write(self.path, old, new),)


@dataclass(frozen=True, slots=True)
class FileState:
    """A regular file: its bytes and permission bits. `mode` None means the default of a new file, or any mode."""

    data: bytes
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Changes the file at `path` from `old` (None: it must not exist) to `new` (None: it is removed)."""

    path: str
    old: FileState | None
    new: FileState | None

    def inverted(self) -> Write:
        """The write that reverses this one."""
        return Write(self.path, self.new, self.old)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that applying a patch will do beneath `root`.

    `notes` are what the user should see before approving. `protected` are the paths that need an approval of their own,
    each with the program whose behaviour it controls.
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
        """All writes of the plan, in the order in which they happen. A move consists of two."""
        return tuple(write for change in self.changes for write in change.writes)
