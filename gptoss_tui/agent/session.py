"""Sessions on disk: one append-only JSONL file each.

The first line is the header (`"type": "session"`). It is followed by the events of `docs/events.md` in order, without
the deltas: the closing event of an item carries its whole text. Among them are `"type": "history"` lines, which record
the changes to the conversation (see `log.py`). They contain token ids exactly as they were sampled, so that the same
prompt can be rebuilt.

A line is written before its event is shown to anyone. A process that dies leaves at most one incomplete line at the
end, which is skipped when the file is read. The file of an open session is locked, so that two programs cannot
continue the same session.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from platformdirs import user_state_path

from gptoss_tui.agent.events import (
    AnswerDelta,
    CompactionDelta,
    Event,
    PromptProgress,
    RawTokens,
    ReasoningDelta,
    ToolCallDelta,
    ToolOutputDelta,
)
from gptoss_tui.errors import SessionError

FORMAT_VERSION: Final = 2
"""Version 1, which can still be read, has no rewinds, steering, compaction or turn numbers."""

DIRECTORY_VARIABLE: Final = "GPTOSS_TUI_SESSIONS"

_PASSING = (
    PromptProgress,
    ReasoningDelta,
    AnswerDelta,
    ToolCallDelta,
    ToolOutputDelta,
    CompactionDelta,
    RawTokens,
)


@dataclass(frozen=True, slots=True)
class SessionHeader:
    """The metadata of a session.

    `created` is the local time in ISO 8601; `date` (YYYY-MM-DD) is the current date that the model is given. `parent`
    is the id of the session that this one was forked from, or empty.
    """

    id: str
    created: str
    app: str
    model: str
    workspace: str
    date: str | None
    parent: str = ""


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session as read from disk: the lines after the header in order, and notices about damaged lines."""

    path: Path
    header: SessionHeader
    records: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def events(self) -> tuple[Mapping[str, Any], ...]:
        """The events, in the form that `docs/events.md` describes."""
        return tuple(record for record in self.records if record.get("type") != "history")

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """The operations on the conversation, in the form that `log.py` describes."""
        return tuple(record for record in self.records if record.get("type") == "history")


class SessionFile:
    """An open session file with mode 0600.

    Bytes that could not be written are kept and written before the next line, so a disk that was full for a while
    leaves no gap in the file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._unwritten = bytearray()

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line. Raises SessionError when it cannot be written; earlier lines are kept."""
        if self._descriptor is None:
            raise SessionError(f"The file of the conversation, {self.path}, is closed")
        self._unwritten += json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._descriptor, self._unwritten)]
        except OSError as error:
            raise SessionError(
                f"The conversation could not be saved in {self.path}: {error.strerror}; what was there is kept",
                hint="free some space: the rest is written with the next message",
            ) from error

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class SessionStore:
    """The directory of session files."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or sessions_directory()
        self._reserved = ""

    def reserve(self) -> str:
        """Return the id that the next session will have, for callers that need it before the session begins."""
        self._reserved = self._reserved or _new_id()
        return self._reserved

    def create(
        self,
        *,
        app: str,
        model: str,
        workspace: Path,
        date: str | None,
        parent: str = "",
        records: Iterable[Mapping[str, Any]] = (),
    ) -> SessionFile:
        """Create a session file and write the header and `records` to it. Raises SessionError."""
        now = datetime.now().astimezone()
        name, self._reserved = self._reserved or _new_id(), ""
        header = SessionHeader(name, now.isoformat(timespec="seconds"), app, model, str(workspace), date, parent)
        path = self.directory / f"{name}.jsonl"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _CLOEXEC, 0o600)
        except OSError as error:
            raise SessionError(
                f"The conversation cannot be saved in {self.directory}: {error.strerror}",
                hint=f"make the directory writable or set {DIRECTORY_VARIABLE}",
            ) from error
        _lock(descriptor, path)
        file = SessionFile(path, descriptor)
        for record in ({"v": FORMAT_VERSION, "type": "session", **asdict(header)}, *records):
            file.append(record)
        return file


def _new_id() -> str:
    return f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def open_session(path: Path) -> SessionFile:
    """Open an existing session for appending. An incomplete last line is first terminated with a newline.

    Raises SessionError, also when another program has the session open.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | _CLOEXEC)
    except OSError as error:
        raise SessionError(f"The conversation in {path} cannot be continued: {error.strerror}") from error
    try:
        _lock(descriptor, path)
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise SessionError(f"The conversation in {path} cannot be continued: {error.strerror}") from error
        raise
    return SessionFile(path, descriptor)


def _lock(descriptor: int, path: Path) -> None:
    """Lock the file until it is closed. Raises SessionError when another program has locked it."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SessionError(
            f"The conversation {path.stem} is open in another window", hint="close it there, or fork it"
        ) from None
    except OSError:
        return  # the file system has no locks: better an unlocked session than none


_CLOEXEC = getattr(os, "O_CLOEXEC", 0)


def is_lasting(event: Event) -> bool:
    """Whether the event is written to the session file; deltas and progress are not."""
    return not isinstance(event, _PASSING)


def sessions_directory() -> Path:
    """The directory of session files: `$GPTOSS_TUI_SESSIONS`, or `sessions` in the user's state directory."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    return Path(given).expanduser() if given else user_state_path("gptoss-tui", appauthor=False) / "sessions"


def load_session(path: Path) -> SessionState:
    """Read a session. Incomplete lines and lines that are not JSON objects are skipped, with a notice for each.

    Does not change the file. Raises SessionError when the file cannot be read or does not begin with a header of a
    known version.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SessionError(f"The conversation in {path} cannot be read: {error.strerror}") from error
    header = read_header(path, lines[0])
    records: list[Mapping[str, Any]] = []
    notices: list[str] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        record = parse_line(line)
        if record is None:
            what = "was cut off and is left out" if number == len(lines) else "is damaged and is left out"
            notices.append(f"line {number} of {path.name} {what}")
        else:
            records.append(record)
    return SessionState(path, header, tuple(records), tuple(notices))


def read_header(path: Path, line: bytes) -> SessionHeader:
    """Parse `line`, the first line of `path`. Raises SessionError when it is not a header of a known version."""
    record = parse_line(line) or {}
    if record.get("type") != "session" or record.get("v") not in range(1, FORMAT_VERSION + 1):
        raise SessionError(
            f"{path} does not begin with a session header of version {FORMAT_VERSION} or older",
            hint="was it written by a newer gptoss-tui?",
        )
    try:
        return SessionHeader(**{f.name: record[f.name] for f in fields(SessionHeader) if f.name in record})
    except TypeError as error:
        raise SessionError(f"The header of {path} is incomplete: {error}") from error


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line, or None when the line is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
