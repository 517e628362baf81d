"""Saved sessions: listing them, finding one by the beginning of its id, reading and deleting them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gptoss_tui.agent.commands import ResumedSession, SessionSummary, TurnSummary
from gptoss_tui.agent.events import Restored, Rewound, from_dict
from gptoss_tui.agent.log import DAMAGED, effective, number_turns, turns
from gptoss_tui.agent.session import SessionState, open_session, parse_line, read_header
from gptoss_tui.errors import SessionError, UsageError

LAST: Final = "last"
"""Stands for the newest session of a workspace."""

_TITLE_LENGTH = 80
_TURN_MARKS = (b'"op":"user"', b'"op":"rewind"', b'"op":"redo"')
"""Only lines that contain these are parsed for a list. A message cannot forge one: quotes in strings are escaped."""


def list_sessions(directory: Path, workspace: Path | None = None) -> tuple[SessionSummary, ...]:
    """The sessions in `directory` with at least one message, newest first; with `workspace` only those of that folder.

    Files that are not sessions are skipped. Raises SessionError when the directory cannot be read.
    """
    wanted = None if workspace is None else str(workspace)
    found = [dated for path in _files(directory) if (dated := _summarize(path, wanted)) is not None]
    return tuple(summary for _, summary in sorted(found, key=lambda dated: (dated[0], dated[1].id), reverse=True))


def find_session(directory: Path, session_id: str, workspace: Path | None = None) -> Path:
    """The file of a session. `session_id` is an id, the beginning of one, or `last` for the newest in `workspace`.

    Raises UsageError when no session or several match, and SessionError like `list_sessions`.
    """
    if session_id == LAST:
        sessions = list_sessions(directory, workspace)
        if not sessions:
            raise UsageError("No conversation of this folder is saved", hint="`gptoss-tui sessions list --all`")
        return sessions[0].path
    fitting = sorted(path for path in _files(directory) if session_id and path.stem.startswith(session_id))
    exact = [path for path in fitting if path.stem == session_id]
    if not fitting:
        raise UsageError(f"There is no conversation {session_id!r}", hint="`gptoss-tui sessions list` shows them")
    if len(exact or fitting) > 1:
        raise UsageError(f"{len(fitting)} conversations begin with {session_id!r}", hint="give more of the id")
    return (exact or fitting)[0]


def delete_session(path: Path) -> None:
    """Delete a session's file. Raises SessionError, also when a program has the session open."""
    file = open_session(path)
    try:
        path.unlink()
    except OSError as error:
        raise SessionError(f"The conversation {path.stem} cannot be deleted: {error.strerror}") from error
    finally:
        file.close()


def shown_records(state: SessionState) -> list[Mapping[str, Any]]:
    """The events and history of a session in order, without what was rewound. Raises SessionError if damaged."""
    try:
        kept = effective(number_turns(state.records)).kept
        session_turns(kept)
    except DAMAGED as error:
        raise SessionError(f"The conversation in {state.path} is damaged: {error!r}") from error
    return kept


def resumed_session(state: SessionState, workspace: Path) -> ResumedSession:
    """What a front end needs of a session that continues in `workspace`. Raises SessionError if damaged."""
    notices = list(state.notices)
    if state.header.workspace != str(workspace):
        notices.append(f"This conversation began in {state.header.workspace}; it goes on in {workspace}")
    events = (from_dict(record) for record in shown_records(state))
    shown = tuple(event for event in events if event is not None and not isinstance(event, (Rewound, Restored)))
    return ResumedSession(state.header.id, shown, tuple(notices))


def session_turns(records: Iterable[Mapping[str, Any]]) -> tuple[TurnSummary, ...]:
    """The turns among `shown_records`."""
    return turns(record for record in records if record.get("type") == "history")


def title_of(text: str) -> str:
    """The title for a message: its first non-blank line, shortened if necessary."""
    line = next((stripped for line in text.splitlines() if (stripped := " ".join(line.split()))), "")
    return line if len(line) <= _TITLE_LENGTH else f"{line[: _TITLE_LENGTH - 1]}…"


def _files(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.suffix == ".jsonl"]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SessionError(f"The conversations in {directory} cannot be listed: {error.strerror}") from error


def _summarize(path: Path, workspace: str | None) -> tuple[int, SessionSummary] | None:
    """Summarise a file for a list without parsing all of it; also returns its modification time in nanoseconds.

    Returns None when the file has no turns, is not a session, or belongs to another workspace.
    """
    try:
        with path.open("rb") as file:
            header = read_header(path, file.readline())
            if workspace is not None and header.workspace != workspace:
                return None
            marked = [record for line in file if any(m in line for m in _TURN_MARKS) and (record := parse_line(line))]
        changed = path.stat().st_mtime_ns
        found = turns(effective(number_turns(marked)).kept)
    except (OSError, SessionError, *DAMAGED):
        return None
    if not found:
        return None
    updated = datetime.fromtimestamp(changed / 1e9).astimezone()
    return changed, SessionSummary(
        id=header.id,
        title=title_of(found[0].text),
        created=header.created,
        updated=updated.isoformat(timespec="seconds"),
        turns=len(found),
        workspace=header.workspace,
        model=header.model,
        path=path,
    )
