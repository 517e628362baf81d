"""The data types of the undo store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gptoss_tui.patch.types import FileState

Kind = Literal["apply", "undo", "redo"]
Choice = Literal["keep", "restore", "merge"]
"""For a file that changed since: leave it as it is, restore the wanted content, or write both, with conflict marks."""


@dataclass(frozen=True, slots=True)
class TurnEdits:
    """The edits of one turn.

    `created` is the local time of the first edit (ISO 8601). `undone` means that none of them is in effect.
    """

    turn: str
    created: str
    paths: tuple[str, ...]
    undone: bool


@dataclass(frozen=True, slots=True)
class Goal:
    """A file that was left as `expected` and should become `wanted`; None means no file."""

    path: str
    expected: FileState | None
    wanted: FileState | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that is not as the turn left it, and the user's choices for it.

    `expected` is its content after the turn, `current` its content now, and `wanted` the content to restore; None means
    no file.
    """

    path: str
    reason: str
    choices: tuple[Choice, ...]
    expected: bytes | None
    current: bytes | None
    wanted: bytes | None


@dataclass(frozen=True, slots=True)
class UndoReport:
    """What undo or redo did, or would do. If there are open `conflicts`, nothing was written.

    `restored` files are exactly as before, `merged` ones also keep later changes, `kept` ones were left by choice.
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
