"""Undo and redo in an editor. The user is asked about files that were changed since, so that no change is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from acp.helpers import tool_diff_content
from acp.interfaces import Client
from acp.schema import AllowedOutcome, PermissionOption, PermissionOptionKind, ToolCallLocation, ToolCallUpdate

from gptoss_tui.acp.calls import Content, paragraph
from gptoss_tui.agent.commands import AgentPort, UndoOutcome
from gptoss_tui.errors import UsageError
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.undo import Choice, Conflict

Act = Callable[[dict[str, Choice]], Awaitable[UndoOutcome]]
Ask = Callable[[Conflict], Awaitable[Choice | None]]

_OPTIONS: Final[dict[Choice, tuple[str, PermissionOptionKind]]] = {
    "keep": ("Keep it as it is now", "reject_once"),
    "restore": ("Put it back; what was changed since is lost", "allow_once"),
    "merge": ("Write both into the file, with conflict marks", "allow_once"),
}


async def go_back(agent: AgentPort, name: str, argument: str, ask: Ask) -> list[str]:
    """Undo or redo. Returns lines that say what was done. Raises UsageError or UndoError."""
    if argument and not (name == "undo" and argument.isdecimal()):
        raise UsageError(f"{argument} is not a turn number", hint="/turns lists them")
    turn = int(argument) if argument else None
    if name == "redo":
        return await _settle(agent.redo, ask, "back again")
    return await _settle(lambda choices: agent.undo(turn, choices), ask, "undone")


async def _settle(act: Act, ask: Ask, done: str) -> list[str]:
    """Call `act`, ask about each conflict, and call it again until none is left or the user stops."""
    choices: dict[str, Choice] = {}
    lines: list[str] = []
    while True:
        outcome = await act(choices)
        lines += _told(outcome, done)
        for conflict in outcome.conflicts:
            choice = await ask(conflict)
            if choice is None:
                return [*lines, f"Stopped. {conflict.path} is as it was."]
            choices[conflict.path] = choice
        if not outcome.conflicts:
            return lines


def _told(outcome: UndoOutcome, done: str) -> list[str]:
    lines = [f"Turn {number} is {done}." for number in outcome.turns]
    for report in outcome.reports:
        if report.done:
            kinds = (("restored", report.restored), ("merged", report.merged), ("kept", report.kept))
            lines += [f"- {path}: {word}" for word, paths in kinds for path in paths]
    return lines


async def ask_editor(client: Client, session_id: str, root: Path, call_id: str, conflict: Conflict) -> Choice | None:
    """Ask the user what to do with one file; None if they chose nothing."""
    path = str(root / conflict.path)
    content: list[Content] = [paragraph(conflict.reason)]
    now = None if conflict.current is None else _text(conflict.current)
    content.append(tool_diff_content(path, _text(conflict.wanted or b""), now))
    response = await client.request_permission(
        session_id,
        ToolCallUpdate(
            tool_call_id=call_id,
            title=to_terminal_line(f"Put {conflict.path} back?"),
            kind="edit",
            status="pending",
            content=content,
            locations=[ToolCallLocation(path=path)],
        ),
        [
            PermissionOption(option_id=choice, name=name, kind=kind)
            for choice, (name, kind) in _OPTIONS.items()
            if choice in conflict.choices
        ],
    )
    outcome = response.outcome
    chosen = outcome.option_id if isinstance(outcome, AllowedOutcome) else ""
    return next((choice for choice in conflict.choices if choice == chosen), None)


def _text(data: bytes) -> str:
    return to_terminal_text(data.decode("utf-8", "replace"))
