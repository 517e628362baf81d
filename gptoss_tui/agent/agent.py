"""The agent as a front holds it: one conversation, one turn at a time, typed events out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.budget import Limits
from gptoss_tui.agent.checkpoints import Checkpoints, Choices, GoingBack
from gptoss_tui.agent.commands import (
    ContextReport,
    Decision,
    ResumedSession,
    SessionSummary,
    ToolSummary,
    TurnSummary,
    UndoOutcome,
)
from gptoss_tui.agent.compaction import Compactor
from gptoss_tui.agent.constraints import Constraints
from gptoss_tui.agent.context import context_report, is_longer, tokens_to_read_again
from gptoss_tui.agent.events import (
    ApprovalResolved,
    EffortChanged,
    Event,
    ModeChanged,
    Notice,
    Restored,
    Rewound,
    StepFinished,
    TurnStarted,
    to_dict,
)
from gptoss_tui.agent.history import History, find_turn, restore_history
from gptoss_tui.agent.own import permit
from gptoss_tui.agent.policy.book import WorkspaceFile
from gptoss_tui.agent.policy.modes import Mode
from gptoss_tui.agent.policy.rules import Rule
from gptoss_tui.agent.prompt import build_preamble
from gptoss_tui.agent.recorder import Recorder
from gptoss_tui.agent.session import SessionStore, is_lasting
from gptoss_tui.agent.sessions import list_sessions, resumed_session
from gptoss_tui.agent.turn import Turn, TurnContext
from gptoss_tui.agent.warm import read_ahead
from gptoss_tui.engine.prefix import prefix_digest
from gptoss_tui.engine.types import Engine, EngineInfo, SamplingParams
from gptoss_tui.errors import EngineError, SessionError, UsageError
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import EFFORTS, Effort, Preamble
from gptoss_tui.harmony.render import render_preamble
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.tools.base import Citation, Effect
from gptoss_tui.tools.registry import ToolRegistry
from gptoss_tui.undo import UndoStore


class Agent:
    """Implements `commands.AgentPort`. Used from one event loop.

    `effort` may be set at any time and counts from the model's next step on. `current_date` (YYYY-MM-DD) stays as it
    is for the whole conversation. `context_limit` None means the engine's own. Without `session_store` nothing is
    saved, without `undo_store` no edit is taken back. From `compact_at` percent of the context on, the conversation is
    compacted (0: only when asked for). `constraints` say what may be sampled at all. A callable
    `developer_message` is asked anew for each conversation.
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
        developer_message: str | Callable[[], str | None] | None = None,
        current_date: str | None = None,
        approvals: Approvals | None = None,
        session_store: SessionStore | None = None,
        undo_store: UndoStore | None = None,
        context_limit: int | None = None,
        limits: Limits | None = None,
        compact_at: int = 0,
        raw: bool = False,
        constraints: Constraints | None = None,
    ) -> None:
        self.engine = engine
        self.effort: Effort = effort
        self.approvals = approvals or Approvals()
        self._tokenizer = tokenizer
        self._registry = registry
        self._workspace = workspace
        self._sampling = sampling or SamplingParams()
        self._ask_developer = developer_message
        self._current_date = self._today = current_date
        self._store = session_store
        self._context_limit = context_limit
        self._limits = limits or Limits()
        self._compact_at = compact_at
        self._raw = raw
        self._constraints = constraints or Constraints()
        self._recorder = Recorder(session_store, workspace, self._complain)
        self._checkpoints = Checkpoints(undo_store)
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._turn: Turn | None = None
        self._compaction: asyncio.Task[bool] | None = None
        self._busy = False
        self._closed = False
        self._info: EngineInfo | None = None
        self._cached_ids: list[int] = []
        self._history = self._new_history()

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
        return self._recorder.path

    @property
    def session_id(self) -> str | None:
        """The id of this session, once it is saved."""
        return self._recorder.path.stem if self._recorder.path else None

    # -- turns ------------------------------------------------------------------------------------------------------

    async def submit(self, text: str) -> AsyncGenerator[Event, None]:
        """Run one turn. See `AgentPort.submit`; also raises UsageError for an empty text or while a turn runs."""
        self._require_idle()
        if not text.strip():
            raise UsageError("The message is empty")
        self._busy = True
        try:
            info = await self._loaded()
            if await asyncio.to_thread(is_longer, text, self._tokenizer, self._limit(info)):
                raise UsageError(
                    f"The message is longer than the context of {self._limit(info):,} tokens; it was not sent",
                    hint="cut it, or put it into a file and name that: the model reads what it needs",
                )
            await self._registry.ready()
            notices = await self._checkpoints.recover()
            self._events = asyncio.Queue()
            turn = self._begin(text, info)
            for notice in notices:
                self._emit(replace(notice, turn_id=turn.turn_id))
            async with aclosing(self._until_over(turn.start(), turn.interrupt)) as events:
                async for event in events:
                    yield event
        finally:
            self._turn = None
            self._rest()

    def steer(self, text: str) -> None:
        """Give the running turn a message for the model's next step. See `AgentPort.steer`."""
        if self._turn is None or self._turn.over:
            raise UsageError("Nothing runs that could be steered", hint="send it as a message")
        if not text.strip():
            raise UsageError("The message is empty")
        self._turn.steer(text)

    async def compact(self, instructions: str = "") -> AsyncGenerator[Event, None]:
        """Let the model sum the conversation up and go on from its summary. See `AgentPort.compact`."""
        self._require_idle()
        if not self.conversation.entries:
            raise UsageError("There is nothing to sum up yet")
        self._busy = True
        try:
            info = await self._loaded()
            self._events = asyncio.Queue()
            compactor = Compactor(
                engine=self.engine,
                tokenizer=self._tokenizer,
                history=self._history,
                sampling=self._sampling,
                context_limit=self._limit(info),
                emit=self._emit,
            )
            task = asyncio.create_task(compactor.run(automatic=False, instructions=instructions), name="compaction")
            self._compaction = task
            async with aclosing(self._until_over(task, task.cancel)) as events:
                async for event in events:
                    yield event
        finally:
            self._compaction = None
            self._rest()

    def interrupt(self) -> None:
        """End the running turn as `interrupted`, or the compaction; without one nothing happens."""
        if self._turn is not None:
            self._turn.interrupt()
        if self._compaction is not None:
            self._compaction.cancel()

    def decide(self, item_id: str, decision: Decision) -> None:
        """Answer an approval request. Raises UsageError for another id or digest than the one that waits."""
        self.approvals.answer(item_id, decision)

    # -- permission -------------------------------------------------------------------------------------------------

    async def permit(self, item_id: str, tool: str, effect: Effect, show: Callable[[Event], None]) -> ApprovalResolved:
        """Ask the policy about something of the person's own. See `AgentPort.permit`."""
        return await permit(self.approvals, item_id, tool, effect, show)

    @property
    def mode(self) -> Mode:
        """How much may happen without asking. See `AgentPort.mode`."""
        return self.approvals.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        before = self.approvals.mode
        self.approvals.mode = mode
        if mode != before:
            event = ModeChanged(turn_id=self._turn.turn_id if self._turn else "", mode=mode, before=before)
            self._emit(event) if self._busy else self._recorder.write(to_dict(event))

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that this workspace lets happen, the strictest first."""
        return self.approvals.book.modes

    def tools(self) -> tuple[ToolSummary, ...]:
        """The tools that the model is told about."""
        functions = (ToolSummary(one.name, one.description) for one in self._registry.declarations)
        groups = (ToolSummary(one.name, one.description or "") for one in self._registry.namespaces)
        return (*functions, *groups)

    def rules(self) -> tuple[Rule, ...]:
        """The standing answers that hold here."""
        return self.approvals.book.rules

    def revoke(self, rule_id: str) -> Rule:
        """Take a rule back. See `AgentPort.revoke`."""
        return self.approvals.book.revoke(rule_id)

    def trust(self, trusted: bool = True) -> WorkspaceFile:
        """Let the workspace's own file allow things, as it is now; or stop. Raises PolicyError."""
        return self.approvals.book.trust(trusted)

    def effort_cost(self, effort: Effort) -> int:
        """Tokens that the engine would have to read again under another effort. See `AgentPort.effort_cost`."""
        preamble = self._preamble(effort)
        if preamble == self.conversation.preamble:
            return 0
        ids = render_preamble(self._tokenizer, preamble)
        kept = self._info.kept_prefixes if self._info else ()
        return tokens_to_read_again(self._history, ids, self._cached_ids, kept=prefix_digest(ids) in kept)

    async def warm(self) -> None:
        """Let the engine read the beginning of the conversation ahead. See `AgentPort.warm`."""
        if not self._busy and not self.conversation.entries:
            await self._registry.ready()
            efforts = (self.effort, *(other for other in EFFORTS if other != self.effort))
            beginnings = (render_preamble(self._tokenizer, self._preamble(effort)) for effort in efforts)
            await read_ahead(self.engine, beginnings, lambda: self._busy)

    # -- the conversation as a whole --------------------------------------------------------------------------------

    def turns(self) -> tuple[TurnSummary, ...]:
        """The turns of the conversation, oldest first."""
        return self._history.turns()

    def context(self) -> ContextReport:
        """Where the tokens of the conversation went."""
        limit = self._limit(self._info) if self._info else self._context_limit
        return context_report(self._tokenizer, self._history, self._cached_ids, limit)

    def rewind(self, turn: int) -> str:
        """Drop that turn and everything after it, and give its message back. See `AgentPort.rewind`."""
        self._require_idle()
        return self._rewind(turn)

    async def undo(self, turn: int | None = None, choices: Choices | None = None) -> UndoOutcome:
        """Drop that turn and everything after it, files included. See `AgentPort.undo`."""
        self._require_idle()
        turns = self.turns()
        if not turns:
            raise UsageError("There is no turn to take back")
        first = turns[-1] if turn is None else find_turn(turns, turn)
        going_back = GoingBack(self._checkpoints, self._history.edits_of, choices or {})
        self._busy = True
        try:
            await going_back.undo(turns[turns.index(first) :])
        finally:
            # The conversation goes back as far as the files did, also when the disk refused halfway.
            text = self._rewind(going_back.settled[-1]) if going_back.settled else ""
            self._rest()
        return UndoOutcome(tuple(going_back.settled), text, tuple(going_back.reports))

    async def redo(self, choices: Choices | None = None) -> UndoOutcome:
        """Bring back what was dropped last, files included. See `AgentPort.redo`."""
        self._require_idle()
        dropped = self._history.dropped_turns()
        if not dropped:
            raise UsageError("There is nothing to make again", hint="a new message ends what can be")
        going_forth = GoingBack(self._checkpoints, self._history.edits_of, choices or {})
        self._busy = True
        try:
            if not await going_forth.redo(dropped):
                return UndoOutcome(reports=tuple(going_forth.reports))
            self._history.redo(self._tokenizer)
            self._recorder.write(to_dict(Restored(turn=dropped[0].number)))
        finally:
            self._rest()
        return UndoOutcome(tuple(going_forth.settled), dropped[0].text, tuple(going_forth.reports))

    def _rewind(self, turn: int) -> str:
        text = self._history.rewind(self._tokenizer, turn)
        self._recorder.write(to_dict(Rewound(turn=turn)))
        return text

    def new_conversation(self) -> None:
        """Drop the history and what was allowed for the session; the next submit starts a new session.

        Raises UsageError while a turn runs.
        """
        self._current_date = self._today
        self._replace_history(self._new_history())

    # -- sessions ---------------------------------------------------------------------------------------------------

    def sessions(self, workspace: Path | None = None) -> tuple[SessionSummary, ...]:
        """Saved sessions, the newest first. See `AgentPort.sessions`."""
        return list_sessions(self._store.directory, workspace) if self._store else ()

    def resume(self, session_id: str) -> ResumedSession:
        """Go on with a saved session: its conversation, its date, its file. Nothing stays allowed.

        See `AgentPort.resume`.
        """
        self._require_idle()
        state, file = self._recorder.find(session_id)
        try:
            history = restore_history(self._tokenizer, state, self._preamble(), self._recorder.write)
        except BaseException:
            file.close()
            raise
        self._current_date = state.header.date
        self._replace_history(history)
        self._recorder.go_on_in(file)
        return resumed_session(state, self._workspace)

    def fork(self, turn: int | None = None) -> str:
        """Go on in a new session with all turns before `turn`, or all of them. See `AgentPort.fork`."""
        self._require_idle()
        text = find_turn(self.turns(), turn).text if turn is not None else ""
        self._recorder.fork(turn)
        self._history.forked(self._tokenizer, turn)
        return text

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        return self._registry.page_text(citation)

    @property
    def sources(self) -> dict[str, str]:
        return self._registry.sources

    def close(self) -> None:
        """Interrupt the turn and end what tools keep running; the session file is closed behind its last event.

        The engine belongs to the caller.
        """
        self._closed = True
        self.interrupt()
        self._registry.reset()
        if not self._busy:
            self._recorder.close()

    # -- parts ------------------------------------------------------------------------------------------------------

    async def _until_over(self, task: asyncio.Task[Any], interrupt: Callable[[], Any]) -> AsyncGenerator[Event, None]:
        """What happens until `task` ends; who stops listening interrupts it."""
        task.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield event
        finally:
            interrupt()
            await asyncio.wait({task})
        if not task.cancelled():
            task.result()
        self._info = await self.engine.info() or self._info

    def _rest(self) -> None:
        """Nothing runs any more."""
        self._busy = False
        if self._closed:
            self._recorder.close()

    def _require_idle(self) -> None:
        if self._busy:
            raise UsageError("A turn is running", hint="interrupt it or wait for its end")

    async def _loaded(self) -> EngineInfo:
        info = await self.engine.info()
        if info is None:
            raise EngineError("No model is loaded; the conversation is kept", hint="load or restart the engine")
        self._info = info
        del self._cached_ids[info.cached_tokens :]
        return info

    def _limit(self, info: EngineInfo) -> int:
        return info.context if self._context_limit is None else min(info.context, self._context_limit)

    def _begin(self, text: str, info: EngineInfo) -> Turn:
        turn_id = f"t{self._history.next_number}"
        constraints = self._constraints.enforceable(info)
        context = TurnContext(
            engine=self.engine,
            tokenizer=self._tokenizer,
            registry=self._registry,
            approvals=self.approvals,
            checkpoints=self._checkpoints,
            history=self._history,
            sampling=self._sampling,
            limits=self._limits,
            context_limit=self._limit(info),
            raw=self._raw,
            emit=lambda event: self._emit(replace(event, turn_id=turn_id)),
            before_step=lambda: self._apply_effort(turn_id),
            compact_at=self._limit(info) * self._compact_at // 100 if self._compact_at else None,
            constraint=constraints.automaton(self._tokenizer, self._registry),
            grounded=self._workspace if constraints.grounds_patches else None,
        )
        self._turn = turn = Turn(context, turn_id, text)
        self._recorder.begin(info.model, self._current_date)
        changed = self._effort_change()
        self._history.add_user(text, self._preamble(), self._checkpoints.begin(self.session_id, turn_id))
        context.emit(TurnStarted(text=text, session=self.session_id or ""))
        if changed is not None:
            context.emit(changed)
        for problem in self.approvals.new_problems():
            context.emit(Notice(text=f"{problem.message}. Until then every change asks.", hint=problem.hint or ""))
        return turn

    def _apply_effort(self, turn_id: str) -> None:
        """Between two steps: think as hard as the person wants by now."""
        changed = self._effort_change()
        if changed is not None:
            self._history.set_preamble(self._preamble())
            self._emit(replace(changed, turn_id=turn_id))

    def _effort_change(self) -> EffortChanged | None:
        """What changing to the effort of now means; None when it is the conversation's, or nothing was said yet."""
        if self.effort == self.conversation.preamble.system.effort or not self.conversation.entries:
            return None
        return EffortChanged(effort=self.effort, tokens=self.effort_cost(self.effort))

    def _preamble(self, effort: Effort | None = None) -> Preamble:
        return build_preamble(
            effort=effort or self.effort,
            current_date=self._current_date,
            functions=self._registry.declarations,
            builtin_tools=self._registry.namespaces,
            developer_message=self._told,
            response_format=self._constraints.format,
        )

    def _new_history(self) -> History:
        self._told = self._ask_developer() if callable(self._ask_developer) else self._ask_developer
        return History(Conversation(self._tokenizer, self._preamble()), self._recorder.write)

    def _replace_history(self, history: History) -> None:
        self._require_idle()
        self._recorder.close()
        self.approvals.forget()
        self._registry.reset()
        self._history = history

    # -- events and their record ------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        """Write the event, and the sampled tokens that it is about, before anybody sees it."""
        if isinstance(event, StepFinished):
            # The token that was sampled last has not been run.
            held = event.prompt_tokens + max(0, event.generated_tokens - 1)
            self._cached_ids = self._history.prompt_ids()[:held]
        if is_lasting(event):
            self._history.flush()
            self._recorder.write(to_dict(event))
        self._events.put_nowait(event)

    def _complain(self, error: SessionError) -> None:
        """What cannot be saved stops nothing."""
        turn_id = self._turn.turn_id if self._turn else ""
        self._events.put_nowait(Notice(turn_id=turn_id, text=error.message, hint=error.hint or ""))
