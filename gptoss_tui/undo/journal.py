"""The undo store as a transaction journal: the data kept for undo also serves to recover from a crash."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from gptoss_tui.errors import UndoError
from gptoss_tui.patch.journal import Record, Step, UnsettledError
from gptoss_tui.patch.types import Write
from gptoss_tui.undo.database import Database, keep, transaction
from gptoss_tui.undo.types import Kind

_INSERT = "INSERT INTO transactions (token, turn, kind, state, created, folders) VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class TurnJournal:
    """Records one transaction under `turn`. The caller must hold the store's lock."""

    database: Database
    turn: str
    kind: Kind

    def opened(self, record: Record, writes: Sequence[Write]) -> None:
        """Store all old and new contents, before anything in the tree changes."""
        self._write(record, writes, "open")

    def noted(self, record: Record, writes: Sequence[Write]) -> None:
        """Store what another program has already changed."""
        self._write(record, writes, "closed")

    def _write(self, record: Record, writes: Sequence[Write], state: str) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        with self.database.connect() as connection, transaction(connection):
            row = (record.token, self.turn, self.kind, state, now, json.dumps(record.folders))
            number = connection.execute(_INSERT, row).lastrowid
            for at, (step, write) in enumerate(zip(record.steps, writes, strict=True)):
                keep(connection, step.old, write.old)
                keep(connection, step.new, write.new)
                modes = tuple(state.mode if state else None for state in (write.old, write.new))
                values = (number, at, step.path, step.old, modes[0], step.new, modes[1])
                connection.execute("INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def committed(self, record: Record) -> None:
        """Mark the transaction as committed. After an error, a new connection checks what reached the disk."""
        try:
            self._mark(record, "committed")
        except UndoError as error:
            if self._state(record) != "committed":
                raise error

    def closed(self, record: Record) -> None:
        self._mark(record, "closed")

    def withdrawn(self, record: Record) -> None:
        with self.database.connect() as connection:
            connection.execute("DELETE FROM transactions WHERE token = ?", (record.token,))

    def _mark(self, record: Record, state: str) -> None:
        with self.database.connect() as connection:
            connection.execute("UPDATE transactions SET state = ? WHERE token = ?", (state, record.token))

    def _state(self, record: Record) -> str:
        try:
            with self.database.connect() as connection:
                row = connection.execute("SELECT state FROM transactions WHERE token = ?", (record.token,)).fetchone()
        except UndoError as error:
            raise UnsettledError(
                f"The files are written, but {error.message}. The next start finishes the change or takes it back.",
                hint=error.hint,
            ) from error
        return str(row[0])


def unfinished(connection: sqlite3.Connection) -> Iterator[tuple[Record, bool]]:
    """Yield transactions that are not closed, oldest first, each with whether it was committed."""
    rows = connection.execute("SELECT id, token, state, folders FROM transactions WHERE state != 'closed' ORDER BY id")
    for number, token, state, folders in rows.fetchall():
        steps = connection.execute(
            "SELECT path, old_hash, new_hash FROM writes WHERE transaction_id = ? ORDER BY number", (number,)
        )
        yield Record(token, tuple(Step(*step) for step in steps), tuple(json.loads(folders))), state == "committed"
