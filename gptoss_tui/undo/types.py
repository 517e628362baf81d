"""What the undo store says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gptoss_tui.patch.types import FileState

Kind = Literal["apply", "undo", "redo"]
Choice = Literal["keep", "restore", "merge"]
"""For a file that changed since: leave it as it is, write what it should go back to, or both, with conflict marks."""


@dataclass(frozen=True, slots=True)
class TurnEdits:
    """The edits of one turn.

    `created` is the local time of the first (ISO 8601). `undone`: nothing of it is in force.
    """

    turn: str
    created: str
    paths: tuple[str, ...]
    undone: bool


@dataclass(frozen=True, slots=True)
class Goal:
    """A file that was left as `expected` and is to become `wanted`; None where there is no file."""

    path: str
    expected: FileState | None
    wanted: FileState | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that is not as the turn left it, and what a person can choose for it.

    `expected` is its content after the turn, `current` now, `wanted` the one to go back to; None where there is none.
    """

    path: str
    reason: str
    choices: tuple[Choice, ...]
    expected: bytes | None
    current: bytes | None
    wanted: bytes | None


@dataclass(frozen=True, slots=True)
class UndoReport:
    """What undo or redo did, or would do. While `conflicts` are open nothing was written.

    `restored` are exactly as before, `merged` keep later changes of other lines, `kept` were left by choice.
    """

    turn: str
    restored: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()

    @property
    def done(self) -> bool:
        """Whether every file is settled."""
        return not self.conflicts
