"""Moving between conversations: resume, fork, rewind, undo and compact; the view follows the agent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

from gptoss_tui.errors import UsageError
from gptoss_tui.tui.composing.requests import typed

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.agent.commands import AgentPort, ContextReport, ResumedSession, UndoOutcome
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.slash.record import Record
    from gptoss_tui.undo.types import Choice


class HistoryView(Protocol):
    """What the controller needs from the screen around it."""

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        ...

    def show_conversation(self, events: tuple[ev.Event, ...]) -> None:
        """Replace the conversation shown by these events."""
        ...

    def show_context(self, report: ContextReport) -> None:
        """Show how full the context is."""
        ...

    def drop_turns(self, turn_id: str) -> None:
        """Remove a turn and everything after it from the view."""
        ...

    def set_draft(self, text: str) -> None:
        """Put a message back into the composer."""
        ...


class HistoryController:
    """Acts on the agent, and keeps the view and the record in sync with it."""

    def __init__(
        self,
        agent: Callable[[], AgentPort | None],
        view: HistoryView,
        record: Record,
        run: Callable[[AsyncGenerator[ev.Event, None]], None],
    ) -> None:
        self._agent = agent
        self._view = view
        self._record = record
        self._run = run

    def resume(self, session_id: str) -> None:
        """Continue a saved conversation. Raises GptOssError."""
        self.show(self._present().resume(session_id))

    def show(self, resumed: ResumedSession) -> None:
        """Show a conversation that the agent has resumed."""
        self._record.clear()
        for event in resumed.events:
            self._record.apply(event)
        self._view.show_conversation(resumed.events)
        for notice in resumed.notices:
            self._view.say("warning", notice)
        self._refresh()

    def fork(self, turn: int | None) -> None:
        """Continue in a copy that ends before `turn`, whose message becomes the draft. Raises GptOssError."""
        text = self._present().fork(turn)
        if turn is not None:
            self._dropped(f"t{turn}", text)
        self._view.say("info", "This is a copy from here on; the original conversation is kept.")

    def rewind(self, turn: int) -> None:
        """Drop a turn and everything after it; files stay as they are. Raises GptOssError."""
        self._dropped(f"t{turn}", self._present().rewind(turn))

    def _dropped(self, turn_id: str, text: str) -> None:
        """Update the view after the agent dropped turns; the first one's message goes back into the draft."""
        self._record.keep_before(turn_id)
        self._view.drop_turns(turn_id)
        if text:
            self._view.set_draft(typed(text))
        self._refresh()

    async def undo(self, turn: int | None, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Undo turns, including their file changes. Raises GptOssError."""
        outcome = await self._present().undo(turn, choices)
        if outcome.turns:
            self._dropped(f"t{min(outcome.turns)}", outcome.text)
        return outcome

    async def redo(self, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Redo what was undone last. Raises GptOssError."""
        outcome = await self._present().redo(choices)
        if outcome.turns:
            self._record.bring_back()
            self._view.show_conversation(tuple(self._record.events))
            self._view.set_draft("")
            self._refresh()
        return outcome

    def compact(self, instructions: str) -> None:
        """Summarize the conversation. Raises GptOssError."""
        self._run(cast("AsyncGenerator[ev.Event, None]", self._present().compact(instructions)))

    def _present(self) -> AgentPort:
        agent = self._agent()
        if agent is None:
            raise UsageError("The model is still loading", hint="try again when it is ready")
        return agent

    def _refresh(self) -> None:
        self._view.show_context(self._present().context())
