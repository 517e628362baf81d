"""The `ask` tool: runs a turn of the agent, reports its progress, and returns its answer with citations."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from mcp.types import CallToolResult, TextContent

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.references import references, replace_marks
from gptoss_tui.engine.shared import EngineSeat
from gptoss_tui.engine.types import LoadProgress
from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import EFFORTS
from gptoss_tui.mcp_server.host import Asker
from gptoss_tui.mcp_server.permission import answer
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.tools.base import Citation


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of an `ask` call."""

    prompt: str
    effort: str = ""
    go_on: bool = False


def read_question(arguments: dict[str, Any]) -> Question:
    """Check the arguments. Raises ToolError."""
    prompt, effort, go_on = arguments.get("prompt"), arguments.get("effort", ""), arguments.get("go_on", False)
    if not isinstance(prompt, str) or not prompt.strip():
        raise ToolError("ask: prompt is missing, or no text.")
    if effort and effort not in EFFORTS:
        raise ToolError(f"ask: effort is one of {', '.join(EFFORTS)}.")
    return Question(prompt, str(effort or ""), go_on is True)


@dataclass(slots=True)
class _Outcome:
    """The outcome of a turn, collected from its events."""

    answers: dict[str, str] = field(default_factory=dict)
    cited: ev.AnswerCited | None = None
    finished: ev.TurnFinished | None = None
    decisions: list[asyncio.Task[None]] = field(default_factory=list)


async def ask(agent: Agent, seat: EngineSeat, question: Question, host: Asker) -> CallToolResult:
    """Run a turn to its end. Cancelling interrupts the turn. Raises GptOssError."""
    if not question.go_on:
        agent.new_conversation()
    effort = next((one for one in EFFORTS if one == question.effort), None)
    if effort is not None:
        agent.effort = effort
    await _load(seat, host)
    outcome = _Outcome()
    try:
        async with aclosing(agent.submit(question.prompt)) as events:
            async for event in events:
                await _take(agent, event, outcome, host)
    finally:
        for task in outcome.decisions:
            task.cancel()
        await asyncio.gather(*outcome.decisions, return_exceptions=True)
    return _result(agent, outcome)


async def _load(seat: EngineSeat, host: Asker) -> None:
    """Make sure that the model is loaded, reporting progress in steps of 10%."""
    if await seat.info() is not None:
        return
    steps: asyncio.Queue[LoadProgress | None] = asyncio.Queue()
    loading = asyncio.create_task(seat.ready(steps.put_nowait))
    loading.add_done_callback(lambda _: steps.put_nowait(None))
    told = -1
    try:
        while (step := await steps.get()) is not None:
            if (tenth := int(step.fraction * 10)) > told:
                told = tenth
                await host.tell(f"Loading the model ({10 * tenth}%)")
        await loading
    finally:
        loading.cancel()


async def _take(agent: Agent, event: ev.Event, outcome: _Outcome, host: Asker) -> None:
    match event:
        case ev.ReasoningDone():
            await host.tell("Thinking")
        case ev.ToolCall():
            await host.tell(to_terminal_line(event.summary))
        case ev.AnswerDone(preamble=True):
            await host.tell(to_terminal_line(event.text))
        case ev.AnswerDone():
            outcome.answers[event.item_id] = event.text
        case ev.AnswerCited():
            outcome.cited = event
        case ev.ApprovalRequest():
            outcome.decisions.append(asyncio.create_task(_decide(agent, event, host)))
        case ev.TurnFinished():
            outcome.finished = event


async def _decide(agent: Agent, request: ev.ApprovalRequest, host: Asker) -> None:
    agent.decide(request.item_id, await answer(request, host))


def _result(agent: Agent, outcome: _Outcome) -> CallToolResult:
    finished = outcome.finished
    if finished is None or finished.reason == "failed":
        raise ToolError(f"{finished.error}\n{finished.hint}".rstrip() if finished else "The turn has no end.")
    cited = outcome.cited
    found = references(outcome.answers.get(cited.item_id, ""), cited.citations) if cited else references("", ())
    text = replace_marks(to_terminal_text(finished.answer), found.labels)
    parts = [text, "\n".join(f"{label} {what}" for label, what in found.entries)]
    if finished.reason != "done":
        parts.append(f"[{finished.error or finished.reason}]")
    turns = agent.turns()
    structured = {
        "answer": text,
        "complete": finished.reason == "done" and not finished.incomplete,
        "citations": [_citation(citation) for citation in (cited.citations if cited else ()) if citation.number],
        "files": [to_terminal_line(path) for path in turns[-1].files] if turns else [],
        "session": agent.session_id or "",
    }
    return CallToolResult(
        content=[TextContent(text="\n\n".join(part for part in parts if part) or "[no answer]")],
        structured_content=structured,
        is_error=finished.reason != "done" and not text,
    )


def _citation(citation: Citation) -> dict[str, Any]:
    return {
        "label": f"[{citation.number}]",
        "title": to_terminal_line(citation.title),
        "url": to_terminal_line(citation.url),
        "first_line": citation.first_line,
        "last_line": citation.last_line,
    }
