"""The agent that a front end drives: one conversation, one turn at a time, with typed events as output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.budget import Limits
from gptoss_tui.agent.checkpoints import Checkpoints, Choices
from gptoss_tui.agent.commands import (
    Decision,
    ResumedSession,
    UndoOutcome,
)
from gptoss_tui.agent.compaction import Compactor
from gptoss_tui.agent.constraints import Constraints
from gptoss_tui.agent.context import HeldContext, is_longer
from gptoss_tui.agent.events import (
    ApprovalResolved,
    EffortChanged,
    Event,
    ModeChanged,
    Notice,
    StepFinished,
    TurnStarted,
)
from gptoss_tui.agent.notify import Notifier
from gptoss_tui.agent.opening import Opening
from gptoss_tui.agent.own import permit
from gptoss_tui.agent.policy.book import WorkspaceFile
from gptoss_tui.agent.policy.modes import Mode
from gptoss_tui.agent.policy.rules import Rule
from gptoss_tui.agent.recorded import RecordedConversation
from gptoss_tui.agent.recorder import Recorder
from gptoss_tui.agent.running import Runner
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.agent.skills import Skill
from gptoss_tui.agent.turn import Turn, TurnContext
from gptoss_tui.agent.view import AgentView
from gptoss_tui.agent.warm import read_ahead
from gptoss_tui.engine.types import Engine, EngineInfo, SamplingParams
from gptoss_tui.errors import SessionError, UsageError
from gptoss_tui.harmony.messages import EFFORTS, Effort
from gptoss_tui.harmony.render import render_preamble
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.registry import ToolRegistry
from gptoss_tui.undo import UndoStore


class Agent(AgentView):
    """Implements `commands.AgentPort`. Must be used from a single event loop.

    `effort` may be set at any time and applies from the model's next step. `current_date` (YYYY-MM-DD) stays the same
    for the whole conversation. `context_limit` is in tokens; None means the engine's own limit. Without a
    `session_store` nothing is saved; without an `undo_store` edits cannot be undone. The conversation is compacted
    when it reaches `compact_at` percent of the context (0: only on request). `constraints` restrict which tokens can
    be sampled. A callable `developer_message` is called again for each conversation.
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
        skills: Callable[[], tuple[Skill, ...]] = tuple,
        notifier: Notifier | None = None,
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
        self._tokenizer, self._workspace = tokenizer, workspace
        self._sampling = sampling or SamplingParams()
        self._notifier = notifier
        self._limits = limits or Limits()
        self._compact_at, self._raw = compact_at, raw
        self._constraints = constraints or Constraints()
        opening = Opening(registry, self._constraints, developer_message, current_date)
        recorder = Recorder(session_store, workspace, self._complain)
        checkpoints = Checkpoints(undo_store)
        recorded = RecordedConversation(tokenizer, opening, effort, workspace, recorder, session_store, checkpoints)
        held = HeldContext(engine, tokenizer, context_limit)
        super().__init__(approvals or Approvals(), registry, opening, recorded, held, skills)
        self._runner = Runner(self._rested)
        self._turn: Turn | None = None
        self._closed = False

    # -- turns ------------------------------------------------------------------------------------------------------

    async def submit(self, text: str) -> AsyncGenerator[Event, None]:
        """Run one turn. See `AgentPort.submit`. Also raises UsageError for an empty text or while a turn runs."""
        self._runner.require_idle()
        if not text.strip():
            raise UsageError("The message is empty")
        with self._runner.working():
            info = await self._held.loaded()
            if await asyncio.to_thread(is_longer, text, self._tokenizer, self._held.limit(info)):
                raise UsageError(
                    f"The message is longer than the context of {self._held.limit(info):,} tokens; it was not sent",
                    hint="shorten it, or put it into a file and mention the file: the model reads what it needs",
                )
            await self._registry.ready()
            notices = await self._recorded.checkpoints.recover()
            self._runner.begin()
            turn = self._begin(text, info)
            for notice in notices:
                self._emit(replace(notice, turn_id=turn.turn_id))
            async with aclosing(self._runner.until_over(turn.start(), turn.interrupt)) as events:
                async for event in events:
                    yield event
            await self._held.look()

    def steer(self, text: str) -> None:
        """Add a message to the running turn, which the model reads in its next step. See `AgentPort.steer`."""
        if self._turn is None or self._turn.over:
            raise UsageError("No turn is running", hint="send it as a message")
        if not text.strip():
            raise UsageError("The message is empty")
        self._turn.steer(text)

    async def compact(self, instructions: str = "") -> AsyncGenerator[Event, None]:
        """Let the model summarise the conversation and continue from the summary. See `AgentPort.compact`."""
        self._runner.require_idle()
        if not self.conversation.entries:
            raise UsageError("There is nothing to summarise yet")
        with self._runner.working():
            info = await self._held.loaded()
            self._runner.begin()
            compactor = Compactor(
                engine=self.engine,
                tokenizer=self._tokenizer,
                history=self._recorded.history,
                sampling=self._sampling,
                context_limit=self._held.limit(info),
                emit=self._emit,
            )
            task = asyncio.create_task(compactor.run(automatic=False, instructions=instructions), name="compaction")
            async with aclosing(self._runner.until_over(task, task.cancel)) as events:
                async for event in events:
                    yield event
            await self._held.look()

    def interrupt(self) -> None:
        """Interrupt the running turn or compaction. Does nothing when neither runs."""
        if self._turn is not None:  # this includes a turn that is about to begin
            self._turn.interrupt()
        self._runner.interrupt()

    def decide(self, item_id: str, decision: Decision) -> None:
        """Answer an approval request. Raises UsageError when the id or digest is not that of the open request."""
        self.approvals.answer(item_id, decision)

    # -- permission -------------------------------------------------------------------------------------------------

    async def permit(self, item_id: str, tool: str, effect: Effect, show: Callable[[Event], None]) -> ApprovalResolved:
        """Ask the policy about an action that the user started. See `AgentPort.permit`."""
        return await permit(self.approvals, item_id, tool, effect, show)

    @property
    def mode(self) -> Mode:
        """How much the model may do without asking. See `AgentPort.mode`."""
        return self.approvals.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        before = self.approvals.mode
        self.approvals.mode = mode
        if mode != before:
            event = ModeChanged(turn_id=self._turn.turn_id if self._turn else "", mode=mode, before=before)
            self._emit(event) if self._runner.busy else self._recorded.record(event)

    def revoke(self, rule_id: str) -> Rule:
        """Revoke a rule. See `AgentPort.revoke`."""
        return self.approvals.book.revoke(rule_id)

    def trust(self, trusted: bool = True) -> WorkspaceFile:
        """Trust or distrust the workspace's own policy file in its current state. Raises PolicyError."""
        return self.approvals.book.trust(trusted)

    async def warm(self) -> None:
        """Let the engine prefill the beginning of the conversation in advance. See `AgentPort.warm`."""
        if not self._runner.busy and not self.conversation.entries:
            await self._registry.ready()
            efforts = (self.effort, *(other for other in EFFORTS if other != self.effort))
            beginnings = (render_preamble(self._tokenizer, self._opening.preamble(effort)) for effort in efforts)
            await read_ahead(self.engine, beginnings, lambda: self._runner.busy)

    # -- the conversation as a whole --------------------------------------------------------------------------------

    def rewind(self, turn: int) -> str:
        """Drop that turn and everything after it, and return its message. See `AgentPort.rewind`."""
        self._runner.require_idle()
        return self._recorded.rewind(turn)

    async def undo(self, turn: int | None = None, choices: Choices | None = None) -> UndoOutcome:
        """Drop that turn and everything after it, and undo its file changes. See `AgentPort.undo`."""
        with self._runner.working():
            return await self._recorded.undo(turn, choices or {})

    async def redo(self, choices: Choices | None = None) -> UndoOutcome:
        """Restore the turns that were dropped last, and their file changes. See `AgentPort.redo`."""
        with self._runner.working():
            return await self._recorded.redo(choices or {})

    def new_conversation(self) -> None:
        """Drop the history and the session's approvals; the next submit starts a new session.

        Raises UsageError while a turn runs.
        """
        self._runner.require_idle()
        self._recorded.renew(self.effort)
        self._forget()

    def resume(self, session_id: str) -> ResumedSession:
        """Continue a saved session with its conversation, date and file. Approvals for the session are dropped.

        See `AgentPort.resume`.
        """
        self._runner.require_idle()
        resumed = self._recorded.resume(session_id, self.effort)
        self._forget()
        return resumed

    def fork(self, turn: int | None = None) -> str:
        """Continue in a new session with the turns before `turn`, or with all of them. See `AgentPort.fork`."""
        self._runner.require_idle()
        return self._recorded.fork(turn)

    def close(self) -> None:
        """Interrupt the turn, stop what tools keep running, and close the session file after its last event.

        The engine is not closed: it belongs to the caller.
        """
        self._closed = True
        self.interrupt()
        self._registry.reset()
        if not self._runner.busy:
            self._recorded.close()

    # -- parts ------------------------------------------------------------------------------------------------------

    def _rested(self) -> None:
        """Called by the runner when neither a turn nor a compaction runs any more."""
        self._turn = None
        if self._closed:
            self._recorded.close()

    def _begin(self, text: str, info: EngineInfo) -> Turn:
        turn_id = f"t{self._recorded.history.next_number}"
        constraints = self._constraints.enforceable(info)
        context = TurnContext(
            engine=self.engine,
            tokenizer=self._tokenizer,
            registry=self._registry,
            approvals=self.approvals,
            checkpoints=self._recorded.checkpoints,
            history=self._recorded.history,
            sampling=self._sampling,
            limits=self._limits,
            context_limit=self._held.limit(info),
            raw=self._raw,
            emit=lambda event: self._emit(replace(event, turn_id=turn_id)),
            before_step=lambda: self._apply_effort(turn_id),
            compact_at=self._held.limit(info) * self._compact_at // 100 if self._compact_at else None,
            constraint=constraints.automaton(self._tokenizer, self._registry),
            grounded=self._workspace if constraints.grounds_patches else None,
        )
        self._turn = turn = Turn(context, turn_id, text)
        changed = self._effort_change()
        self._recorded.begin_turn(turn_id, text, info.model, self._opening.preamble(self.effort))
        context.emit(TurnStarted(text=text, session=self.session_id or ""))
        if changed is not None:
            context.emit(changed)
        for problem in self.approvals.new_problems():
            context.emit(Notice(text=f"{problem.message}. Until then every change asks.", hint=problem.hint or ""))
        return turn

    def _apply_effort(self, turn_id: str) -> None:
        """Switch to the effort that the user has chosen since the last step, if it changed."""
        changed = self._effort_change()
        if changed is not None:
            self._recorded.history.set_preamble(self._opening.preamble(self.effort))
            self._emit(replace(changed, turn_id=turn_id))

    def _effort_change(self) -> EffortChanged | None:
        """The event for a change to the chosen effort.

        None when the conversation already has this effort or is still empty.
        """
        if self.effort == self.conversation.preamble.system.effort or not self.conversation.entries:
            return None
        return EffortChanged(effort=self.effort, tokens=self.effort_cost(self.effort))

    def _forget(self) -> None:
        """Drop the session's approvals and the state of the tools, because the conversation changed."""
        self.approvals.forget()
        self._registry.reset()

    # -- events and their record ------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        """Record the event, with the sampled tokens that it is about, before anyone sees it."""
        if isinstance(event, StepFinished):
            self._held.follow(event, self._recorded.history.prompt_ids())
        self._recorded.record(event)
        self._runner.tell(event)
        if self._notifier is not None:
            self._notifier.hear(event, self.session_id or "")

    def _complain(self, error: SessionError) -> None:
        """Report that the session cannot be saved, without stopping the turn."""
        turn_id = self._turn.turn_id if self._turn else ""
        self._runner.tell(Notice(turn_id=turn_id, text=error.message, hint=error.hint or ""))
