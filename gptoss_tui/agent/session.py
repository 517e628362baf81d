"""Sessions on disk: one append-only JSONL file each.

The first line is the header (`"type": "session"`). Then come the events of `docs/events.md` in order, without the
deltas: the closing event of an item carries its whole text. Between them stand `"type": "history"` lines: what was
added to the conversation (see `log.py`), sampled token ids as they were sampled, so that the same prompt can be
rebuilt.

A line is written and flushed before anybody is shown its event as done. A process that dies leaves at most one torn
line at the end, which reading leaves out. While a session is open its file is locked: two programs cannot both go on
with it.
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
    to_dict,
)
from gptoss_tui.errors import SessionError

FORMAT_VERSION: Final = 2
"""Version 1 has no rewinds, steering or compaction, and no numbers of turns; it is read as well."""

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
    """What holds for a whole session. `date` (YYYY-MM-DD) is what the model is told, `created` the local time.

    `parent` is the id of the session that this one was forked from, else empty.
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
    """A session as read back: its lines behind the header in order, and what was wrong."""

    path: Path
    header: SessionHeader
    records: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def events(self) -> tuple[Mapping[str, Any], ...]:
        """The events, as `docs/events.md` has them."""
        return tuple(record for record in self.records if record.get("type") != "history")

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """What was done to the conversation, as `log.py` has it."""
        return tuple(record for record in self.records if record.get("type") == "history")


class SessionFile:
    """An open session file of mode 0600.

    What the disk refuses is kept and written before the next line, so a file that was full for a while has no hole.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._unwritten = bytearray()

    def append_event(self, event: Event) -> None:
        """Write a closed event; deltas and progress pass by. Raises SessionError."""
        if is_lasting(event):
            self.append(to_dict(event))

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line. Raises SessionError when the disk refuses; the lines before stay."""
        if self._descriptor is None:
            raise SessionError(f"The session file {self.path} is closed")
        self._unwritten += json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._descriptor, self._unwritten)]
        except OSError as error:
            raise SessionError(
                f"The session could not be written to {self.path}: {error.strerror}; what was there is kept",
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
        """Give the id that the next session will have: for those who have to name it before it begins."""
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
        """Begin a session: its file holds the header and `records` already. Raises SessionError."""
        now = datetime.now().astimezone()
        name, self._reserved = self._reserved or _new_id(), ""
        header = SessionHeader(name, now.isoformat(timespec="seconds"), app, model, str(workspace), date, parent)
        path = self.directory / f"{name}.jsonl"
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _CLOEXEC, 0o600)
        except OSError as error:
            raise SessionError(
                f"No session file can be created in {self.directory}: {error.strerror}",
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
    """Open a session that is there for appending; a torn last line is closed off first.

    Raises SessionError, also when another program has the session open.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | _CLOEXEC)
    except OSError as error:
        raise SessionError(f"The session {path} cannot be continued: {error.strerror}") from error
    try:
        _lock(descriptor, path)
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise SessionError(f"The session {path} cannot be continued: {error.strerror}") from error
        raise
    return SessionFile(path, descriptor)


def _lock(descriptor: int, path: Path) -> None:
    """Take the file for this program, until it is closed. Raises SessionError when another one has it."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SessionError(
            f"The session {path.stem} is open in another window", hint="close it there, or fork it"
        ) from None
    except OSError:
        return  # a file system without locks: better unlocked than unsaved


_CLOEXEC = getattr(os, "O_CLOEXEC", 0)


def is_lasting(event: Event) -> bool:
    """Whether the event goes into the file; deltas and progress do not."""
    return not isinstance(event, _PASSING)


def sessions_directory() -> Path:
    """Where sessions live: `$GPTOSS_TUI_SESSIONS`, or the user's state directory."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    return Path(given).expanduser() if given else user_state_path("gptoss-tui", appauthor=False) / "sessions"


def load_session(path: Path) -> SessionState:
    """Read a session back. Lines that are torn or no JSON are left out with a notice; the file is not touched.

    Raises SessionError when the file cannot be read or its first line is no header of a version known here.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise SessionError(f"The session {path} cannot be read: {error.strerror}") from error
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
    """The header in the first line of `path`. Raises SessionError when it is none of a version known here."""
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
    """The JSON object in a line, None when there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
