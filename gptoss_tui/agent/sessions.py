"""The saved sessions: which there are, finding one by a part of its id, deleting one."""

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
"""Only lines with these are parsed for a list. A message cannot forge one: inside a string the quotes are escaped."""


def list_sessions(directory: Path, workspace: Path | None = None) -> tuple[SessionSummary, ...]:
    """The sessions in `directory` that have a message, the newest first; with `workspace` only those of that folder.

    A file that is no session is passed by. Raises SessionError when the directory cannot be read.
    """
    wanted = None if workspace is None else str(workspace)
    found = [dated for path in _files(directory) if (dated := _summarize(path, wanted)) is not None]
    return tuple(summary for _, summary in sorted(found, key=lambda dated: (dated[0], dated[1].id), reverse=True))


def find_session(directory: Path, session_id: str, workspace: Path | None = None) -> Path:
    """The file of a session: its whole id, the beginning of it, or `last` for the newest one of `workspace`.

    Raises UsageError when there is none or the beginning fits several, SessionError as `list_sessions`.
    """
    if session_id == LAST:
        sessions = list_sessions(directory, workspace)
        if not sessions:
            raise UsageError("There is no saved session for this folder", hint="`gptoss-tui sessions list --all`")
        return sessions[0].path
    fitting = sorted(path for path in _files(directory) if session_id and path.stem.startswith(session_id))
    exact = [path for path in fitting if path.stem == session_id]
    if not fitting:
        raise UsageError(f"There is no session {session_id!r}", hint="`gptoss-tui sessions list` shows them")
    if len(exact or fitting) > 1:
        raise UsageError(f"{len(fitting)} sessions begin with {session_id!r}", hint="give more of the id")
    return (exact or fitting)[0]


def delete_session(path: Path) -> None:
    """Delete a session's file. Raises SessionError, also when a program has the session open."""
    file = open_session(path)
    try:
        path.unlink()
    except OSError as error:
        raise SessionError(f"The session {path.stem} cannot be deleted: {error.strerror}") from error
    finally:
        file.close()


def shown_records(state: SessionState) -> list[Mapping[str, Any]]:
    """What counts of a session, events and history in order: without what was taken back. Raises SessionError."""
    try:
        kept = effective(number_turns(state.records)).kept
        session_turns(kept)
    except DAMAGED as error:
        raise SessionError(f"The conversation in {state.path} is damaged: {error!r}") from error
    return kept


def resumed_session(state: SessionState, workspace: Path) -> ResumedSession:
    """What a front is told of a session that goes on in `workspace`. Raises SessionError for a damaged one."""
    notices = list(state.notices)
    if state.header.workspace != str(workspace):
        notices.append(f"This session began in {state.header.workspace}; it goes on in {workspace}")
    events = (from_dict(record) for record in shown_records(state))
    shown = tuple(event for event in events if event is not None and not isinstance(event, (Rewound, Restored)))
    return ResumedSession(state.header.id, shown, tuple(notices))


def session_turns(records: Iterable[Mapping[str, Any]]) -> tuple[TurnSummary, ...]:
    """The turns among `shown_records`."""
    return turns(record for record in records if record.get("type") == "history")


def title_of(text: str) -> str:
    """A message as a title: its first line with something on it, cut to a length."""
    line = next((stripped for line in text.splitlines() if (stripped := " ".join(line.split()))), "")
    return line if len(line) <= _TITLE_LENGTH else f"{line[: _TITLE_LENGTH - 1]}…"


def _files(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.suffix == ".jsonl"]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SessionError(f"The sessions in {directory} cannot be listed: {error.strerror}") from error


def _summarize(path: Path, workspace: str | None) -> tuple[int, SessionSummary] | None:
    """When a file was changed, in nanoseconds, and what a list shows of it, read without parsing all of it.

    None when it has no turn or is no session.
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
