"""Handles tool calls: finds the tool, plans the call, asks for permission, runs it and replies to the model."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from gptoss_tui.agent import hints
from gptoss_tui.agent.approvals import Approvals, Question
from gptoss_tui.agent.budget import Budget, Limits, RepeatGuard, fit_output
from gptoss_tui.agent.checkpoints import Checkpoints
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import (
    ApprovalResolved,
    Event,
    RunawayDetected,
    ToolCall,
    ToolFinished,
    ToolOutputDelta,
    ToolStarted,
    ToolStatus,
)
from gptoss_tui.agent.history import History
from gptoss_tui.agent.revision import revised, selectable, source_of, tell_revision
from gptoss_tui.agent.stream import SampledCall
from gptoss_tui.errors import GptOssError, ToolError
from gptoss_tui.harmony.conversation import INTERRUPTED
from gptoss_tui.harmony.parser import normalize_recipient
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.tools.base import Effect, OutdatedCallError, PreparedCall, RepeatableCall, Tool, ToolResult
from gptoss_tui.tools.formats import format_denied
from gptoss_tui.tools.registry import ToolRegistry

_log = logging.getLogger(__name__)

_MIN_OUTPUT_TOKENS = 64
_CHANGING: Final = ("command", "mcp")
_PLANS = 4
"""How often a call whose files change between planning and running is planned before the model gets an error."""
_OUTDATED = (
    "A file changed after this was shown. Nothing was written; this is the same call on the files as they are now."
)

_UNFIT = "The files changed before the call could run, and it does not fit any more."

INTERRUPTED_RUNNING = "The user interrupted this call while it ran. What it had done by then stays done."


@dataclass(frozen=True, slots=True)
class LimitMet:
    """A limit of the turn that was met: what it was and what to do about it, in words for the user."""

    error: str
    hint: str


class CallRunner:
    """Handles the tool calls of one turn, one at a time. Every call gets exactly one reply, whatever happens."""

    def __init__(
        self,
        *,
        registry: ToolRegistry,
        approvals: Approvals,
        checkpoints: Checkpoints,
        history: History,
        tokenizer: Tokenizer,
        limits: Limits,
        budget: Budget,
        emit: Callable[[Event], None],
    ) -> None:
        self._registry = registry
        self._approvals = approvals
        self._checkpoints = checkpoints
        self._history = history
        self._tokenizer = tokenizer
        self._limits = limits
        self._budget = budget
        self._emit = emit
        self._repeats = RepeatGuard(limits.repeats)
        self._question: LimitMet | None = None
        self._open: SampledCall | None = None
        self._announced = False
        self._running = False

    def tool_name(self, recipient: str) -> str:
        """The registered name of the tool that `recipient` refers to, or `recipient` when there is no such tool."""
        known = normalize_recipient(recipient, self._registry.names)
        return known or self._registry.alias_of(recipient) or recipient

    async def handle(self, call: SampledCall) -> LimitMet | None:
        """Run `call` and reply to it. Returns a limit when the turn must end after this call."""
        self.open(call)
        if limit := self._refused(call):
            self._finish(call, "cancelled", f"The call did not run. {limit.error}.", 0.0)
            return limit
        try:
            prepared = await self._prepare(call)
        except ToolError as error:
            self._reply(call, "error", error.message, 0.0)
            return self._question
        self._announce(call, prepared.summary)
        await self._permit_and_run(call, prepared)
        return self._question

    async def _permit_and_run(self, call: SampledCall, prepared: PreparedCall) -> None:
        """Ask for permission and run the call. Starts over when the files no longer match what was allowed."""
        source, problem = source_of(prepared), ""
        revisions = itertools.count()
        for left in reversed(range(_PLANS)):
            permitted = await self._permit(call, prepared, revisions, problem)
            if isinstance(permitted, ApprovalResolved):
                self._reply(call, "denied", format_denied(permitted.message), 0.0)
                return
            told = tell_revision(source, source_of(permitted)) if source_of(permitted) != source else ""
            outdated = await self._run(call, permitted, told, plans_left=left)
            if outdated is None:
                return
            prepared, problem = outdated, _OUTDATED

    def open(self, call: SampledCall) -> None:
        """Note that `call` is in the conversation and waits for its reply."""
        self._open, self._announced, self._running = call, False, False

    def settle(self) -> None:
        """Reply to the open call, if there is one, with a note that the user interrupted it."""
        if self._open is not None:
            self._finish(self._open, "cancelled", INTERRUPTED_RUNNING if self._running else INTERRUPTED, 0.0)

    def _refused(self, call: SampledCall) -> LimitMet | None:
        if not self._budget.take_call():
            return LimitMet(
                f"The turn has reached its limit of tool calls ({self._limits.tool_calls})",
                hints.TOO_MANY_CALLS,
            )
        if self._repeats.refuses(call.tool, call.arguments):
            return LimitMet(
                f"The model keeps making the same call ({call.tool}) and was told to stop",
                hints.SAME_CALL,
            )
        return None

    async def _prepare(self, call: SampledCall) -> PreparedCall:
        """Find the tool and let it plan the call. Raises ToolError with a message for the model."""
        if call.doubt:
            raise ToolError(f"The call was malformed and did not run: {call.doubt}. Make it again.")
        tool = self._find(call)
        if not call.complete:
            raise ToolError("The call was cut off before its end and did not run. Make it again, and shorter.")
        try:
            return await tool.prepare(call.arguments)
        except ToolError:
            raise
        except Exception as error:
            raise _as_tool_error(call, error) from error

    def _find(self, call: SampledCall) -> Tool:
        tool = self._registry.find(call.recipient) or self._registry.find(call.tool)
        if tool is None:
            known = ", ".join(self._registry.names) or "none"
            raise ToolError(f"There is no tool {call.recipient!r}. The tools are: {known}.")
        return tool

    async def _permit(
        self, call: SampledCall, prepared: PreparedCall, revisions: Iterator[int], problem: str
    ) -> PreparedCall | ApprovalResolved:
        """Return the call that may run (a different one when the user changed it), or the denial."""
        for revision in revisions:
            effect = prepared.effect
            if effect is None:
                return prepared
            ask = functools.partial(self._ask, call, prepared, revision, problem)
            resolved, decision = await self._resolve(call, effect, ask)
            if decision.kind != "edit":
                return resolved if decision.kind == "deny" else prepared
            prepared, problem = await self._revise(call, prepared, decision)
        raise AssertionError("unreachable")

    async def _resolve(
        self, call: SampledCall, effect: Effect, ask: Callable[[Question], None]
    ) -> tuple[ApprovalResolved, Decision]:
        answer = await self._approvals.resolve(call.item_id, effect, ask)
        resolved = answer.as_event(call.item_id, effect)
        self._emit(resolved)
        return resolved, answer.decision

    def _ask(self, call: SampledCall, prepared: PreparedCall, revision: int, problem: str, question: Question) -> None:
        effect = question.effect
        if effect.kind in _CHANGING:
            self._checkpoints.begin_looking()
        self._emit(
            replace(
                question.as_event(call.item_id, call.tool),
                warnings=(*((problem,) if problem else ()), *effect.warnings),
                sources=self._approvals.sources,
                source=source_of(prepared),
                selectable=selectable(prepared),
                revision=revision,
            )
        )

    async def _revise(self, call: SampledCall, prepared: PreparedCall, decision: Decision) -> tuple[PreparedCall, str]:
        """Return the changed call, or the previous one and why it is kept. The user is then asked about it."""
        try:
            return await revised(prepared, decision), ""
        except ToolError as error:
            return prepared, f"Your change cannot be used: {error.message}"
        except Exception as error:
            return prepared, f"Your change cannot be used: {_as_tool_error(call, error).message}"

    async def _run(
        self, call: SampledCall, prepared: PreparedCall, told: str, *, plans_left: int
    ) -> PreparedCall | None:
        """Run the call and reply. `told` is put in front of the result that the model reads.

        When the files changed since the call was planned, returns a new plan instead of replying.
        """
        effect = prepared.effect
        self._emit(_started(call, effect))
        self._running = True
        began = time.monotonic()
        result: ToolResult | None = None
        try:
            result = await self._run_watched(prepared, lambda text: self._output(call, text))
            ok, text = result.ok, result.text
            if result.source:
                self._approvals.saw(result.source)
        except OutdatedCallError as error:
            self._running = False
            ok, text = False, error.message
            if plans_left and isinstance(prepared, RepeatableCall):
                try:
                    return await prepared.again()
                except ToolError as unfit:
                    text = f"{_UNFIT}\n{unfit.message}"
        except ToolError as error:
            ok, text = False, error.message
        except Exception as error:
            ok, text = False, _as_tool_error(call, error).message
        if ok and effect is not None:
            self._repeats.reset()
            if effect.kind == "edit":
                self._history.add_files(effect.paths)
        self._reply(call, "ok" if ok else "error", told + text, time.monotonic() - began, result)
        return None

    async def _run_watched(self, prepared: PreparedCall, on_output: Callable[[str], None]) -> ToolResult:
        """Run the call. For commands and MCP tools, store what they change in the workspace, so that it can be undone.

        The changes are stored even when the call fails or is cancelled.
        """
        effect = prepared.effect
        if effect is None or effect.kind not in _CHANGING:
            return await prepared.run(on_output)
        await self._checkpoints.look()
        try:
            return await prepared.run(on_output)
        finally:
            paths, notices = await self._checkpoints.keep_changes()
            self._history.add_files(paths)
            for notice in notices:
                self._emit(notice)

    def _output(self, call: SampledCall, text: str) -> None:
        """Emit output of the running tool. Output that arrives after the call has ended is dropped."""
        if self._open is call:
            self._emit(ToolOutputDelta(item_id=call.item_id, text=text))

    def _reply(
        self,
        call: SampledCall,
        status: ToolStatus,
        output: str,
        seconds: float,
        result: ToolResult | None = None,
    ) -> None:
        """Close the call with its result, shortened to fit the context."""
        room = self._budget.context_left(len(self._history.prompt_ids())) // 2
        output = fit_output(output, self._tokenizer, max(room, _MIN_OUTPUT_TOKENS))
        runaway = self._limits.runaways != "off" and self._repeats.record(call.tool, call.arguments, output)
        if runaway:
            output += (
                f"\n\n[This same call has now given this same result {self._limits.repeats} times. "
                "Do not make it again: use what you know, or answer.]"
            )
        self._finish(call, status, output, seconds, result)
        if runaway:
            self._tell_runaway(call)

    def _tell_runaway(self, call: SampledCall) -> None:
        """Tell the user about a runaway. With the setting `ask` this also ends the turn."""
        asked = self._limits.runaways == "ask"
        what = f"The model made the same call ({call.tool}) {self._limits.repeats} times, with the same result"
        self._emit(RunawayDetected(item_id=call.item_id, kind="calls", what=what, asked=asked))
        if asked:
            self._question = LimitMet(what, hints.SAME_RESULT)

    def _finish(
        self,
        call: SampledCall,
        status: ToolStatus,
        output: str,
        seconds: float,
        result: ToolResult | None = None,
    ) -> None:
        self._announce(call, call.tool)
        self._history.add_tool_reply(call.recipient, output, call.channel)
        self._open = None
        ended = ToolFinished(item_id=call.item_id, tool=call.tool, status=status, output=output, seconds=seconds)
        if result is not None:
            ended = replace(ended, artefacts=result.artefacts, exit_code=result.data.get("code"))
        self._emit(ended)

    def _announce(self, call: SampledCall, summary: str) -> None:
        if not self._announced:
            self._announced = True
            self._emit(ToolCall(item_id=call.item_id, tool=call.tool, arguments=call.arguments, summary=summary))


def _started(call: SampledCall, effect: Effect | None) -> ToolStarted:
    if effect is None:
        return ToolStarted(item_id=call.item_id, tool=call.tool)
    return ToolStarted(
        item_id=call.item_id,
        tool=call.tool,
        preview=effect.preview,
        preview_type=effect.preview_type,
        digest=effect.digest,
    )


def _as_tool_error(call: SampledCall, error: Exception) -> ToolError:
    """Convert an unexpected error inside a tool to a ToolError for the model. Bugs are logged with their traceback."""
    if not isinstance(error, (GptOssError, OSError, asyncio.TimeoutError)):
        _log.exception("tool %s failed", call.tool, exc_info=error)
    return ToolError(f"{call.tool} failed: {getattr(error, 'message', None) or error or type(error).__name__}")
