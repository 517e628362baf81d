"""Computes from a turn's transactions which edits are in effect: what undo would revert, and redo would repeat."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gptoss_tui.undo.database import load
from gptoss_tui.undo.types import Goal, Kind, TurnEdits

Content = tuple[str | None, int | None]
"""Hash and mode; `(None, None)` for no file."""

_ROWS = """
SELECT t.turn, t.id, t.kind, t.created, w.path, w.old_hash, w.old_mode, w.new_hash, w.new_mode
FROM transactions t JOIN writes w ON w.transaction_id = t.id WHERE t.state != 'open' ORDER BY t.id, w.number
"""


@dataclass(slots=True)
class Ledger:
    """The edits of one turn. `done` and `undone` map paths to their contents before and after."""

    turn: str
    created: str
    last: int = 0
    done: dict[str, tuple[Content, Content]] = field(default_factory=dict)
    undone: dict[str, tuple[Content, Content]] = field(default_factory=dict)
    paths: dict[str, None] = field(default_factory=dict)

    def feed(self, number: int, kind: Kind, path: str, old: Content, new: Content) -> None:
        """Add one write of transaction `number`."""
        self.last = number
        self.paths[path] = None
        if kind == "undo":
            self.done.pop(path, None)
            self.undone[path] = (new, old)
            return
        if kind == "redo":
            self.undone.pop(path, None)
        elif self.undone:  # a new edit after an undo: it can no longer be redone
            self.undone.clear()
        before = self.done[path][0] if path in self.done else old
        self.done[path] = (before, new)
        if before[0] == new[0]:
            del self.done[path]

    def summary(self) -> TurnEdits:
        """The turn's edits, for users."""
        return TurnEdits(self.turn, self.created, tuple(self.paths), undone=not self.done)


def ledgers(connection: sqlite3.Connection) -> dict[str, Ledger]:
    """The ledgers of all turns that are kept, oldest first."""
    found: dict[str, Ledger] = {}
    for turn, number, kind, created, path, old_hash, old_mode, new_hash, new_mode in connection.execute(_ROWS):
        ledger = found.setdefault(turn, Ledger(turn, created))
        ledger.feed(number, kind, path, (old_hash, old_mode), (new_hash, new_mode))
    return found


def ledger_folders(connection: sqlite3.Connection, turn: str) -> tuple[str, ...]:
    """The folders that a turn created, inner ones first."""
    rows = connection.execute("SELECT folders FROM transactions WHERE turn = ? ORDER BY id", (turn,))
    made = dict.fromkeys(folder for (folders,) in rows for folder in json.loads(folders))
    return tuple(sorted(made, key=lambda folder: (-folder.count("/"), folder)))


def goals(
    connection: sqlite3.Connection, pairs: Mapping[str, tuple[Content, Content]], *, back: bool
) -> Iterable[Goal]:
    """Yield what undo (if `back`) or redo has to achieve for these paths."""
    for path, (before, after) in pairs.items():
        expected, wanted = (after, before) if back else (before, after)
        yield Goal(path, load(connection, *expected), load(connection, *wanted))
