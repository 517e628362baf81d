"""Full-text search over a folder of documents: an SQLite FTS5 index in the user's cache, updated file by file."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui.errors import ToolError

_VERSION = 1
_SCHEMA = """
CREATE TABLE files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, row INTEGER NOT NULL);
CREATE VIRTUAL TABLE documents USING fts5(title, body, tokenize = 'porter unicode61 remove_diacritics 2');
"""
_HIT = """
SELECT files.path, documents.title, snippet(documents, 1, '', '', '…', 24)
FROM documents JOIN files ON files.row = documents.rowid
WHERE documents MATCH ? ORDER BY bm25(documents, 5.0, 1.0) LIMIT ?
"""
_WORD = re.compile(r"\w+")
_MAX_WORDS = 32
_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A matching document. `snippet` is the passage that matches best."""

    path: str
    title: str
    snippet: str


def cache_file(cache: Path, root: Path) -> Path:
    """The path of the index of the folder `root`."""
    return cache / f"{root.name}-{hashlib.sha256(str(root).encode()).hexdigest()[:16]}.sqlite"


class Index:
    """The index stored at `path`. Use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None

    def update(self, stamps: dict[str, str], read: Callable[[str], tuple[str, str] | None]) -> int:
        """Make the index contain exactly the files in `stamps` (path to a string that changes with the content).

        `read` returns the title and text of a path, or None if it cannot be read. Returns how many files were read.
        Raises ToolError.
        """
        with self._transaction() as database:
            known = {path: (stamp, row) for path, stamp, row in database.execute("SELECT * FROM files")}
            for path, (stamp, row) in known.items():
                if stamps.get(path) != stamp:
                    database.execute("DELETE FROM documents WHERE rowid = ?", (row,))
                    database.execute("DELETE FROM files WHERE path = ?", (path,))
            changed = [path for path, stamp in stamps.items() if known.get(path, ("", 0))[0] != stamp]
            for path in changed:
                title, body = read(path) or ("", "")
                row = database.execute("INSERT INTO documents (title, body) VALUES (?, ?)", (title, body)).lastrowid
                database.execute("INSERT INTO files VALUES (?, ?, ?)", (path, stamps[path], row))
        return len(changed)

    def search(self, query: str, count: int) -> list[Hit]:
        """Return the best `count` documents that contain any word of `query`, ranked by BM25. Raises ToolError."""
        words = list(dict.fromkeys(_WORD.findall(query.lower())))[:_MAX_WORDS]
        if not words:
            return []
        match = " OR ".join(f'"{word}"' for word in words)
        with self._transaction() as database:
            return [Hit(*row) for row in database.execute(_HIT, (match, count))]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._database is None:
                self._database = self._open()
            with self._database:
                yield self._database
        except sqlite3.Error as error:
            self._database = None
            raise ToolError(f"The index of the documents cannot be used: {error}") from error

    def _open(self) -> sqlite3.Connection:
        """Open the database. If it is damaged or of another version, it is created anew."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(str(self._path))
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                self._path.unlink()
        try:
            return _connect(str(self._path))
        except sqlite3.OperationalError:
            return _connect(":memory:")  # the cache is not writable


def _connect(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name, timeout=_WAIT_SECONDS, check_same_thread=False)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError("another version")
        if not version:
            database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        database.execute("SELECT count(*) FROM files").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database
