"""A conversation together with its session file and the files that it changed: continue, rewind, undo, fork, resume."""

from __future__ import annotations

from pathlib import Path

from gptoss_tui.agent.checkpoints import Checkpoints, Choices, GoingBack
from gptoss_tui.agent.commands import ResumedSession, SessionSummary, TurnSummary, UndoOutcome
from gptoss_tui.agent.events import Event, Restored, Rewound, to_dict
from gptoss_tui.agent.history import History, find_turn, restore_history
from gptoss_tui.agent.opening import Opening
from gptoss_tui.agent.recorder import Recorder
from gptoss_tui.agent.session import SessionStore, is_lasting
from gptoss_tui.agent.sessions import list_sessions, resumed_session
from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Effort, Preamble
from gptoss_tui.harmony.tokenizer import Tokenizer


class RecordedConversation:
    """Keeps the conversation, its session file and its file edits in sync.

    Methods that change the conversation must not be called while a turn runs. Without a `store` nothing is saved;
    without an undo store in `checkpoints` edits cannot be undone. `renew` and `resume` replace `history`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        opening: Opening,
        effort: Effort,
        workspace: Path,
        recorder: Recorder,
        store: SessionStore | None,
        checkpoints: Checkpoints,
    ) -> None:
        self._tokenizer = tokenizer
        self._opening = opening
        self._workspace = workspace
        self._recorder = recorder
        self._store = store
        self.checkpoints = checkpoints
        self.history = self._empty(effort)

    @property
    def path(self) -> Path | None:
        """The path of the session file, or None when there is none yet."""
        return self._recorder.path

    @property
    def session_id(self) -> str | None:
        """The id of the session, or None when it is not saved yet."""
        return self.path.stem if self.path else None

    def turns(self) -> tuple[TurnSummary, ...]:
        """The turns of the conversation, oldest first."""
        return self.history.turns()

    def sessions(self, workspace: Path | None) -> tuple[SessionSummary, ...]:
        """Saved sessions, newest first. Raises SessionError."""
        return list_sessions(self._store.directory, workspace) if self._store else ()

    # -- continuing -------------------------------------------------------------------------------------------------

    def begin_turn(self, turn_id: str, text: str, model: str, preamble: Preamble) -> None:
        """Add the user's message to the conversation, and assign all following edits to this turn."""
        self._recorder.begin(model, self._opening.date)
        self.history.add_user(text, preamble, self.checkpoints.begin(self.session_id, turn_id))

    def record(self, event: Event) -> None:
        """Write the event and the tokens sampled so far, unless it is a delta or progress, which are not kept."""
        if is_lasting(event):
            self.history.flush()
            self._recorder.write(to_dict(event))

    def renew(self, effort: Effort) -> None:
        """Begin an empty conversation, which gets its own file with its first message."""
        self._opening.renew()
        self._recorder.close()
        self.history = self._empty(effort)

    def resume(self, session_id: str, effort: Effort) -> ResumedSession:
        """Continue a saved session with its conversation, date and file.

        Raises UsageError for an unknown id, and SessionError when the session cannot be read or is in use.
        """
        state, file = self._recorder.find(session_id)
        try:
            history = restore_history(self._tokenizer, state, self._opening.preamble(effort), self._recorder.write)
        except BaseException:
            file.close()
            raise
        self._opening.date = state.header.date
        self.history = history
        self._recorder.go_on_in(file)
        return resumed_session(state, self._workspace)

    def fork(self, turn: int | None) -> str:
        """Continue in a new session with the turns before `turn`, or with all. Returns the message of that turn."""
        text = find_turn(self.turns(), turn).text if turn is not None else ""
        self._recorder.fork(turn)
        self.history.forked(self._tokenizer, turn)
        return text

    def close(self) -> None:
        """Close the session file."""
        self._recorder.close()

    # -- rewind, undo and redo --------------------------------------------------------------------------------------

    def rewind(self, turn: int) -> str:
        """Drop that turn and everything after it, and return its message. Raises UsageError."""
        text = self.history.rewind(self._tokenizer, turn)
        self._recorder.write(to_dict(Rewound(turn=turn)))
        return text

    async def undo(self, turn: int | None, choices: Choices) -> UndoOutcome:
        """Drop that turn, or the last one, and everything after it, and undo file changes. See `AgentPort.undo`."""
        turns = self.turns()
        if not turns:
            raise UsageError("There is no turn to undo")
        first = turns[-1] if turn is None else find_turn(turns, turn)
        going_back = GoingBack(self.checkpoints, self.history.edits_of, choices)
        try:
            await going_back.undo(turns[turns.index(first) :])
        finally:
            # Rewind the conversation as far as the files were undone, also when an error stopped the undo halfway.
            text = self.rewind(going_back.settled[-1]) if going_back.settled else ""
        return UndoOutcome(tuple(going_back.settled), text, tuple(going_back.reports))

    async def redo(self, choices: Choices) -> UndoOutcome:
        """Restore the turns that were dropped last, and their file changes. See `AgentPort.redo`."""
        dropped = self.history.dropped_turns()
        if not dropped:
            raise UsageError("There is nothing to redo", hint="redo works until you send a new message")
        going_forth = GoingBack(self.checkpoints, self.history.edits_of, choices)
        if not await going_forth.redo(dropped):
            return UndoOutcome(reports=tuple(going_forth.reports))
        self.history.redo(self._tokenizer)
        self._recorder.write(to_dict(Restored(turn=dropped[0].number)))
        return UndoOutcome(tuple(going_forth.settled), dropped[0].text, tuple(going_forth.reports))

    def _empty(self, effort: Effort) -> History:
        return History(Conversation(self._tokenizer, self._opening.preamble(effort)), self._recorder.write)
