"""Translates the agent's events to session updates: thoughts, messages and calls, live and when replaying a session."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from acp.helpers import text_block
from acp.schema import (
    AgentMessageChunk,
    AgentPlanUpdate,
    AgentThoughtChunk,
    PlanEntry,
    TerminalToolCallContent,
    ToolCallProgress,
    ToolCallStart,
    UsageUpdate,
    UserMessageChunk,
)

from gptoss_tui.acp.calls import (
    Content,
    argument_locations,
    arguments_of,
    hunk_locations,
    kind_of,
    output_content,
    preview_content,
)
from gptoss_tui.acp.diffs import read_diff
from gptoss_tui.agent import events as ev
from gptoss_tui.agent.attached import split_message
from gptoss_tui.agent.checklist import checklist_of, shows_plan
from gptoss_tui.agent.references import before_first_mark, references, replace_marks
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text

Update = (
    AgentMessageChunk
    | AgentPlanUpdate
    | AgentThoughtChunk
    | UserMessageChunk
    | ToolCallStart
    | ToolCallProgress
    | UsageUpdate
)

_OUTPUT_SECONDS: Final = 0.2
"""The shortest time between two updates with a running tool's output, because each update repeats all of it."""


@dataclass(slots=True)
class _Message:
    """A message that is being shown. Its text from `sent` on waits for the citations."""

    text: str = ""
    sent: int = 0


@dataclass(slots=True)
class _Call:
    """A running tool call. The client only sees the plan that a `quiet` one shows, unless it fails."""

    tool: str
    quiet: bool = False
    terminal: bool = False
    output: str = ""
    due: float = 0.0
    content: list[Content] = field(default_factory=list)


class Translator:
    """Translates the events of one conversation, keeping track of what was sent. Paths are below `root`.

    `terminals` means that the client can draw the output of the agent's commands as a terminal.
    """

    def __init__(self, root: Path, *, terminals: bool = False) -> None:
        self._root = root
        self._terminals = terminals
        self._messages: dict[str, _Message] = {}
        self._calls: dict[str, _Call] = {}

    def call_id(self, event: ev.Event) -> str:
        """The id of the item that an event is about, unique in the session."""
        item_id: str = getattr(event, "item_id", "")
        return item_id if item_id.startswith(f"{event.turn_id}.") else f"{event.turn_id}.{item_id}"

    def apply(self, event: ev.Event, *, replay: bool = False) -> Iterator[Update]:
        """Yield the updates for `event`. With `replay`, this includes the user's own messages."""
        match event:
            case ev.ReasoningDelta() | ev.ReasoningDone():
                yield from self._think(event)
            case ev.AnswerDelta() | ev.AnswerDone() | ev.AnswerCited():
                yield from self._answer(event)
            case ev.ToolCallDelta() | ev.ToolCall() | ev.ApprovalRequest() | ev.ToolStarted():
                yield from self._begin_call(event)
            case ev.ToolOutputDelta() | ev.ToolFinished():
                yield from self._end_call(event)
            case ev.StepFinished() if not replay:
                yield UsageUpdate(session_update="usage_update", used=event.context_used, size=event.context_limit)
            case ev.TurnStarted() | ev.Steered() if replay:
                yield from _user(event.text)
            case ev.TurnFinished():
                yield from self._finish(event)
            case _ if note := _note(event):
                yield _thought(f"{note}\n\n")

    # -- messages ---------------------------------------------------------------------------------------------------

    def _think(self, event: ev.ReasoningDelta | ev.ReasoningDone) -> Iterator[Update]:
        key = self.call_id(event)
        if isinstance(event, ev.ReasoningDelta):
            self._messages.setdefault(key, _Message())
            yield _thought(event.text, key)
        elif self._messages.pop(key, None) is None and event.text:
            yield _thought(event.text, key)

    def _answer(self, event: ev.AnswerDelta | ev.AnswerDone | ev.AnswerCited) -> Iterator[Update]:
        """Stream an answer up to its first citation. The labels of citations are only known at its end."""
        key = self.call_id(event)
        message = self._messages.setdefault(key, _Message())
        if isinstance(event, ev.AnswerDelta):
            message.text += event.text
            shown = before_first_mark(message.text)
            if len(shown) > message.sent:
                yield _said(shown[message.sent :], key)
                message.sent = len(shown)
        elif isinstance(event, ev.AnswerDone):
            message.text = event.text
            if before_first_mark(event.text) == event.text:
                yield from self._flush(key)
        else:
            found = references(message.text, event.citations)
            sources = "".join(f"\n- {label} {what}" for label, what in found.entries)
            rest = replace_marks(to_terminal_text(message.text[message.sent :]), found.labels)
            self._messages.pop(key)
            yield _said(f"{rest}\n{sources}", key)

    def _flush(self, key: str) -> Iterator[Update]:
        message = self._messages.pop(key)
        if rest := message.text[message.sent :]:
            yield _said(rest, key)

    # -- calls ------------------------------------------------------------------------------------------------------

    def _begin_call(
        self, event: ev.ToolCallDelta | ev.ToolCall | ev.ApprovalRequest | ev.ToolStarted
    ) -> Iterator[Update]:
        key = self.call_id(event)
        call = self._calls.get(key)
        if call is None:
            yield from self._flush_all()
            call = self._calls[key] = _Call(event.tool, quiet=shows_plan(event.tool))
            if not call.quiet:
                yield _start(key, event.tool)
        if call.quiet:
            yield from _plan(event)
        elif isinstance(event, ev.ToolCall):
            call.tool = event.tool
            arguments = arguments_of(event.tool, event.arguments)
            yield _progress(
                key,
                title=to_terminal_line(event.summary),
                kind=kind_of(event.tool),
                raw_input=arguments,
                locations=argument_locations(self._root, arguments) or None,
            )
        elif isinstance(event, ev.ApprovalRequest | ev.ToolStarted):
            yield from self._preview(key, call, event)

    def _preview(self, key: str, call: _Call, event: ev.ApprovalRequest | ev.ToolStarted) -> Iterator[Update]:
        """Show what the call does. This is repeated if the user changed it."""
        started = isinstance(event, ev.ToolStarted)
        diff = read_diff(event.preview) if event.preview_type == "diff" else None
        call.content = preview_content(self._root, event.preview, event.preview_type)
        call.terminal = started and self._terminals and kind_of(call.tool) == "execute"
        shown: list[Content] = [*call.content]
        if call.terminal:
            shown.append(TerminalToolCallContent(type="terminal", terminal_id=key))
        yield _progress(
            key,
            status="in_progress" if started else "pending",
            kind=kind_of(call.tool, diff),
            content=shown or None,
            locations=hunk_locations(self._root, diff.hunks) or None if diff else None,
            field_meta={"terminal_info": {"terminal_id": key, "cwd": str(self._root)}} if call.terminal else None,
        )

    def _end_call(self, event: ev.ToolOutputDelta | ev.ToolFinished) -> Iterator[Update]:
        key = self.call_id(event)
        call = self._calls.setdefault(key, _Call(""))
        if isinstance(event, ev.ToolFinished):
            yield from self._finish_call(key, self._calls.pop(key), event)
        elif call.terminal:
            data = to_terminal_text(event.text).replace("\n", "\r\n")
            call.output += event.text
            yield _progress(key, field_meta={"terminal_output": {"terminal_id": key, "data": data}})
        else:
            call.output += event.text
            if time.monotonic() >= call.due:
                call.due = time.monotonic() + _OUTPUT_SECONDS
                yield _progress(key, content=[*call.content, output_content(call.output)])

    def _finish_call(self, key: str, call: _Call, event: ev.ToolFinished) -> Iterator[Update]:
        if call.quiet:
            if event.status == "ok":
                return
            yield _start(key, event.tool)
        status = "completed" if event.status == "ok" else "failed"
        meta = None
        content: list[Content] | None = None
        if call.terminal:
            content = [*call.content, TerminalToolCallContent(type="terminal", terminal_id=key)]
            rest = event.output if not call.output else ""
            code = 0 if event.status == "ok" else event.exit_code
            meta = {
                "terminal_output": {"terminal_id": key, "data": to_terminal_text(rest).replace("\n", "\r\n")},
                "terminal_exit": {"terminal_id": key, "exit_code": code, "signal": None},
            }
        elif kind_of(call.tool) not in ("edit", "delete", "move") or event.status != "ok":
            content = [*call.content, output_content(event.output)] if event.output else None
        yield _progress(key, status=status, content=content, field_meta=meta)

    def _finish(self, event: ev.TurnFinished) -> Iterator[Update]:
        """Close everything that is still open at the end of a turn."""
        yield from self._flush_all()
        for key in list(self._calls):
            if not self._calls.pop(key).quiet:
                yield _progress(key, status="failed")
        if event.reason == "limit":
            yield _said(f"\n\n*{with_hint(event.error, event.hint)}*", f"{event.turn_id}.end")

    def _flush_all(self) -> Iterator[Update]:
        """Send the text that was waiting for citations."""
        for key in list(self._messages):
            yield from self._flush(key)


def with_hint(what: str, hint: str | None) -> str:
    """Join what happened and a hint on what to do about it."""
    return f"{what}: {hint}" if hint else what


def _said(text: str, message_id: str) -> AgentMessageChunk:
    content = text_block(to_terminal_text(text))
    return AgentMessageChunk(session_update="agent_message_chunk", content=content, message_id=message_id)


def _thought(text: str, message_id: str | None = None) -> AgentThoughtChunk:
    content = text_block(to_terminal_text(text))
    return AgentThoughtChunk(session_update="agent_thought_chunk", content=content, message_id=message_id)


def _user(text: str) -> Iterator[Update]:
    """The user's message: the typed text and the names of attachments."""
    typed, attached = split_message(text)
    names = "".join(f"\n[{name}]" for name in attached)
    content = text_block(to_terminal_text(typed + names))
    yield UserMessageChunk(session_update="user_message_chunk", content=content)


def _plan(event: ev.Event) -> Iterator[Update]:
    """Yield the plan if `event` is a call that shows one."""
    if isinstance(event, ev.ToolCall) and (plan := checklist_of(event)):
        entries = [PlanEntry(content=step.text, priority="medium", status=step.status) for step in plan.steps]
        yield AgentPlanUpdate(session_update="plan", entries=entries)


def _start(call_id: str, tool: str) -> ToolCallStart:
    title = to_terminal_line(tool) or "tool call"
    return ToolCallStart(
        session_update="tool_call", tool_call_id=call_id, title=title, kind=kind_of(tool), status="pending"
    )


def _progress(call_id: str, **fields: object) -> ToolCallProgress:
    given = {name: value for name, value in fields.items() if value is not None}
    return ToolCallProgress.model_validate(
        {"session_update": "tool_call_update", "tool_call_id": call_id, **given}, by_name=True
    )


def _note(event: ev.Event) -> str:
    """The text of an event that the user should know about; empty for other events."""
    match event:
        case ev.Notice():
            return with_hint(event.text, event.hint)
        case ev.Recovered() | ev.RunawayDetected():
            return event.what
        case ev.CompactionStarted():
            return f"Summing up {event.tokens} tokens."
        case ev.CompactionFinished():
            done = f"The conversation has {event.tokens} tokens now."
            return f"Not summed up. {with_hint(event.error, event.hint)}" if event.error else done
    return ""
