"""The session file of a conversation: created with the first message, resumed and forked. Errors do not stop a turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gptoss_tui import __version__
from gptoss_tui.agent.log import before_turn
from gptoss_tui.agent.session import SessionFile, SessionState, SessionStore, load_session, open_session
from gptoss_tui.agent.sessions import find_session, shown_records
from gptoss_tui.errors import SessionError, UsageError


class Recorder:
    """Writes the session file, if sessions are saved at all.

    When a line cannot be written, `complain` is called, once until writing works again. The conversation continues in
    memory.
    """

    def __init__(self, store: SessionStore | None, workspace: Path, complain: Callable[[SessionError], None]) -> None:
        self._store = store
        self._workspace = workspace
        self._complain = complain
        self._file: SessionFile | None = None
        self._failing = False

    @property
    def path(self) -> Path | None:
        """The path of the file, or None when there is none yet."""
        return self._file.path if self._file else None

    @property
    def directory(self) -> Path:
        """The directory of sessions. Raises UsageError when sessions are not saved."""
        if self._store is None:
            raise UsageError("Conversations are not saved here, so there is none to resume")
        return self._store.directory

    def find(self, session_id: str) -> tuple[SessionState, SessionFile]:
        """Load a saved session and open its file, to be passed to `go_on_in`.

        Raises UsageError for an unknown id, and SessionError when the session cannot be read or is in use.
        """
        path = find_session(self.directory, session_id, self._workspace)
        if path == self.path:
            self.close()
        file = open_session(path)
        try:
            return load_session(path), file
        except BaseException:
            file.close()
            raise

    def begin(self, model: str, date: str | None) -> None:
        """Create the file, unless there is one already."""
        if self._file is not None or self._store is None:
            return
        try:
            self._file = self._store.create(app=__version__, model=model, workspace=self._workspace, date=date)
        except SessionError as error:
            self._report(error)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a line to the file, if there is one."""
        if self._file is None:
            return
        try:
            self._file.append(record)
            self._failing = False
        except SessionError as error:
            self._report(error)

    def go_on_in(self, file: SessionFile) -> None:
        """Close the current file and write to this one from now on."""
        self.close()
        self._file = file

    def fork(self, turn: int | None) -> None:
        """Continue in a new file, which begins with the records in effect before `turn`. Raises SessionError."""
        if self._file is None or self._store is None:
            return
        state = load_session(self._file.path)
        records = shown_records(state)
        file = self._store.create(
            app=__version__,
            model=state.header.model,
            workspace=self._workspace,
            date=state.header.date,
            parent=state.header.id,
            records=records if turn is None else before_turn(records, turn),
        )
        self.go_on_in(file)

    def close(self) -> None:
        """Close the file; the next message creates a new one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _report(self, error: SessionError) -> None:
        if not self._failing:
            self._failing = True
            self._complain(error)
