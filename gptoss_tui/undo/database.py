"""The SQLite database of an undo store, one per workspace. Contents are stored once each, by SHA-256 and compressed.

A connection is only open for one piece of work. Every commit is on disk when it returns (`synchronous=EXTRA`). The
plain rollback journal is used because it works on every file system that has locks.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from gptoss_tui.errors import UndoError
from gptoss_tui.patch.types import FileState

VERSION = 1
_SCHEMA = """
CREATE TABLE contents (hash TEXT PRIMARY KEY, size INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE transactions (
  id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL UNIQUE, turn TEXT NOT NULL, kind TEXT NOT NULL,
  state TEXT NOT NULL, created TEXT NOT NULL, folders TEXT NOT NULL
);
CREATE INDEX transactions_turn ON transactions (turn);
CREATE TABLE writes (
  transaction_id INTEGER NOT NULL REFERENCES transactions ON DELETE CASCADE, number INTEGER NOT NULL,
  path TEXT NOT NULL, old_hash TEXT, old_mode INTEGER, new_hash TEXT, new_mode INTEGER,
  PRIMARY KEY (transaction_id, number)
);
"""
_ORPHANS = """
DELETE FROM contents WHERE hash NOT IN (
  SELECT old_hash FROM writes WHERE old_hash IS NOT NULL UNION SELECT new_hash FROM writes WHERE new_hash IS NOT NULL
)
"""
_OLDEST = """
SELECT turn FROM transactions WHERE turn NOT IN (SELECT turn FROM transactions WHERE state = 'open')
GROUP BY turn ORDER BY MAX(id) LIMIT 1
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Database:
    """The database at `path`, which is created on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored."""
        return self.path.exists()

    @contextlib.contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """Open a connection in autocommit mode. Raises UndoError for any error of SQLite or the disk."""
        connection = None
        try:
            if not self.path.exists():
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=10, check_same_thread=False)
            _prepare(connection)
            yield connection
        except (sqlite3.Error, OSError) as error:
            raise UndoError(
                f"The undo store {self.path} cannot be used: {error}",
                hint="free some space or make its folder writable; GPTOSS_TUI_UNDO names another folder",
            ) from error
        finally:
            if connection is not None:
                connection.close()

    def set_aside_if_damaged(self) -> Path | None:
        """Rename the file if it is corrupt, and return its new path; None if it is not. Raises UndoError."""
        try:
            with self.connect() as connection:
                connection.execute("SELECT COUNT(*) FROM transactions").fetchone()
        except UndoError as error:
            code = getattr(error.__cause__, "sqlite_errorcode", 0)
            if code & 0xFF not in _DAMAGED:
                raise
        else:
            return None
        aside = self.path.with_name(f"{self.path.stem}-damaged-{datetime.now():%Y%m%d-%H%M%S}{self.path.suffix}")
        os.replace(self.path, aside)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.path}-journal")
        return aside


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run all statements of the block in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def keep(connection: sqlite3.Connection, digest: str | None, state: FileState | None) -> None:
    """Store a content under its hash, unless it is already stored."""
    if digest is None or state is None:
        return
    if connection.execute("SELECT 1 FROM contents WHERE hash = ?", (digest,)).fetchone() is None:
        data = zlib.compress(state.data, 1)
        connection.execute("INSERT INTO contents VALUES (?, ?, ?)", (digest, len(data), data))


def load(connection: sqlite3.Connection, digest: str | None, mode: int | None) -> FileState | None:
    """Load the content with this hash; None for None."""
    if digest is None:
        return None
    row = connection.execute("SELECT data FROM contents WHERE hash = ?", (digest,)).fetchone()
    if row is None:
        raise sqlite3.IntegrityError(f"the content {digest[:12]} is missing")
    return FileState(zlib.decompress(row[0]), mode)


def prune(connection: sqlite3.Connection, max_bytes: int, max_turns: int) -> None:
    """Delete the oldest turns until the limits are met; the newest is kept whatever its size."""
    with transaction(connection):
        while True:
            (turns,) = connection.execute("SELECT COUNT(DISTINCT turn) FROM transactions").fetchone()
            (size,) = connection.execute("SELECT COALESCE(SUM(size), 0) FROM contents").fetchone()
            oldest = connection.execute(_OLDEST).fetchone()
            if turns <= 1 or oldest is None or (size <= max_bytes and turns <= max_turns):
                break
            connection.execute("DELETE FROM transactions WHERE turn = ?", oldest)
            connection.execute(_ORPHANS)
    connection.execute("PRAGMA incremental_vacuum").fetchall()


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA foreign_keys = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise sqlite3.NotSupportedError("it was written by a newer version of gptoss-tui")
    if version == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        with transaction(connection):
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
