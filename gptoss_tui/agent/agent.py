"""The agent as a front holds it: one conversation, one turn at a time, typed events out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptoss_tui import __version__
from gptoss_tui.agent.approvals import Approvals, Policy
from gptoss_tui.agent.budget import Limits
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import Event, Notice, TurnStarted, to_dict
from gptoss_tui.agent.history import History, restore_conversation
from gptoss_tui.agent.prompt import build_preamble
from gptoss_tui.agent.session import SessionFile, SessionState, SessionStore, is_lasting
from gptoss_tui.agent.turn import Turn, TurnContext
from gptoss_tui.engine.types import Engine, EngineInfo, SamplingParams
from gptoss_tui.errors import EngineError, SessionError, UsageError
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Effort, Preamble, ToolNamespace
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.tools.registry import ToolRegistry


class Agent:
    """Implements `commands.AgentPort`. Used from one event loop.

    `effort` may be set between turns and counts from the next message on. `current_date` (YYYY-MM-DD) stays as it is
    for the whole conversation. `context_limit` None means the engine's own. Without `session_store` nothing is saved.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        registry: ToolRegistry,
        *,
        workspace: Path,
        effort: Effort = "medium",
        sampling: SamplingParams | None = None,
        developer_message: str | None = None,
        builtin_tools: tuple[ToolNamespace, ...] = (),
        current_date: str | None = None,
        policy: Policy = "ask",
        session_store: SessionStore | None = None,
        context_limit: int | None = None,
        limits: Limits | None = None,
        raw: bool = False,
    ) -> None:
        self.engine = engine
        self.effort: Effort = effort
        self.approvals = Approvals(policy)
        self._tokenizer = tokenizer
        self._registry = registry
        self._workspace = workspace
        self._sampling = sampling or SamplingParams()
        self._developer_message = developer_message
        self._builtin_tools = builtin_tools
        self._current_date = current_date
        self._store = session_store
        self._context_limit = context_limit
        self._limits = limits or Limits()
        self._raw = raw
        self._session: SessionFile | None = None
        self._saving_failed = False
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._turn: Turn | None = None
        self._busy = False
        self._closed = False
        self._history = self._new_history(Conversation(tokenizer, self._preamble()))

    @property
    def conversation(self) -> Conversation:
        """The history that the next turn continues. For reading."""
        return self._history.conversation

    @property
    def context_used(self) -> int:
        """Tokens of the conversation, preamble included."""
        return len(self._history.prompt_ids())

    @property
    def session_path(self) -> Path | None:
        """The file of this session, once there is one."""
        return self._session.path if self._session else None

    async def submit(self, text: str) -> AsyncGenerator[Event, None]:
        """Run one turn. See `AgentPort.submit`; also raises UsageError for an empty text or while a turn runs."""
        if self._busy:
            raise UsageError("A turn is running", hint="interrupt it or wait for its end")
        if not text.strip():
            raise UsageError("The message is empty")
        self._busy = True
        try:
            info = await self._loaded()
            self._events = asyncio.Queue()
            turn = self._begin(text, info)
            task = turn.start()
            task.add_done_callback(lambda _: self._events.put_nowait(None))
            try:
                while (event := await self._events.get()) is not None:
                    yield event
            finally:
                turn.interrupt()
                await asyncio.wait({task})
            if not task.cancelled():
                task.result()
        finally:
            self._turn, self._busy = None, False
            if self._closed:
                self._close_session()

    def interrupt(self) -> None:
        """End the running turn as `interrupted`; without one nothing happens."""
        if self._turn is not None:
            self._turn.interrupt()

    def decide(self, item_id: str, decision: Decision) -> None:
        """Answer an approval request. Raises UsageError for another id or digest than the one that waits."""
        self.approvals.answer(item_id, decision)

    def new_conversation(self) -> None:
        """Drop the history and what was allowed for the session; the next submit starts a new session.

        Raises UsageError while a turn runs.
        """
        self._replace_history(Conversation(self._tokenizer, self._preamble()))

    def resume(self, state: SessionState) -> None:
        """Go on with a session that was read: its conversation, its date, its file. Nothing stays allowed.

        Raises UsageError while a turn runs, SessionError when the conversation cannot be rebuilt.
        """
        conversation = restore_conversation(self._tokenizer, state)
        self._replace_history(conversation or Conversation(self._tokenizer, self._preamble()))
        self._current_date = state.header.date
        if self._store is not None:
            self._session = self._store.resume(state)

    def close(self) -> None:
        """Interrupt the turn and end what tools keep running; the session file is closed behind its last event.

        The engine belongs to the caller.
        """
        self._closed = True
        self.interrupt()
        self._registry.reset()
        if not self._busy:
            self._close_session()

    async def _loaded(self) -> EngineInfo:
        info = await self.engine.info()
        if info is None:
            raise EngineError("No model is loaded; the conversation is kept", hint="load or restart the engine")
        return info

    def _begin(self, text: str, info: EngineInfo) -> Turn:
        limit = info.context if self._context_limit is None else min(info.context, self._context_limit)
        turn_id = f"t{self.conversation.turn + 1}"
        context = TurnContext(
            engine=self.engine,
            tokenizer=self._tokenizer,
            registry=self._registry,
            approvals=self.approvals,
            history=self._history,
            sampling=self._sampling,
            limits=self._limits,
            context_limit=limit,
            raw=self._raw,
            emit=lambda event: self._emit(replace(event, turn_id=turn_id)),
        )
        self._turn = turn = Turn(context, turn_id)
        self._open_session(info, turn_id)
        self._history.add_user(text, self._preamble())
        context.emit(TurnStarted(text=text))
        return turn

    def _preamble(self) -> Preamble:
        return build_preamble(
            effort=self.effort,
            current_date=self._current_date,
            functions=self._registry.declarations,
            builtin_tools=self._builtin_tools,
            developer_message=self._developer_message,
        )

    def _new_history(self, conversation: Conversation) -> History:
        return History(conversation, self._record)

    def _replace_history(self, conversation: Conversation) -> None:
        if self._busy:
            raise UsageError("A turn is running", hint="interrupt it first")
        self._close_session()
        self.approvals.forget()
        self._registry.reset()
        self._history = self._new_history(conversation)

    # -- events and their record ------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        """Write the event, and the sampled tokens that it is about, before anybody sees it."""
        if is_lasting(event):
            self._history.flush()
            self._record(to_dict(event))
        self._events.put_nowait(event)

    def _record(self, record: Mapping[str, Any]) -> None:
        if self._session is None:
            return
        try:
            self._session.append(record)
            self._saving_failed = False
        except SessionError as error:
            self._report(error)

    def _open_session(self, info: EngineInfo, turn_id: str) -> None:
        if self._session is not None or self._store is None:
            return
        try:
            self._session = self._store.create(
                app=__version__, model=info.model, workspace=self._workspace, date=self._current_date
            )
        except SessionError as error:
            self._report(error, turn_id)

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _report(self, error: SessionError, turn_id: str = "") -> None:
        """Say once that saving fails; the conversation goes on in memory."""
        if not self._saving_failed:
            self._saving_failed = True
            self._events.put_nowait(Notice(turn_id=turn_id, text=error.message, hint=error.hint or ""))
