"""The plan of a conversation for front ends: what a call of `update_plan` shows, made safe for a terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gptoss_tui.agent.events import ToolCall, ToolFinished
from gptoss_tui.errors import ToolError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tools.declarations import UPDATE_PLAN
from gptoss_tui.tools.update_plan import Checklist, Step, StepStatus, read_checklist

MARKS: Final[dict[StepStatus, str]] = {"completed": "✓", "in_progress": "●", "pending": "○"}
"""One character for each state of a step."""


def shows_plan(tool: str) -> bool:
    """Whether the calls of `tool` show a plan and do nothing else."""
    return tool == UPDATE_PLAN.name


def checklist_of(event: ToolCall) -> Checklist | None:
    """The plan that a call shows; None for other calls and for an invalid plan, which the model is told to fix."""
    if not shows_plan(event.tool):
        return None
    try:
        plan = read_checklist(event.arguments)
    except ToolError:
        return None
    steps = tuple(replace(step, text=to_terminal_line(step.text)) for step in plan.steps)
    return Checklist(steps, to_terminal_line(plan.explanation))


class PlanFollower:
    """For front ends that cannot redraw their output: shows each plan once, and which of its steps changed."""

    def __init__(self) -> None:
        self._shown: Checklist | None = None
        self._calls: set[str] = set()

    def told_by(self, event: ToolCall) -> tuple[Checklist, tuple[Step, ...]] | None:
        """The plan that a call shows, and the steps that changed since the plan before; None for other calls."""
        plan = checklist_of(event)
        if plan is None:
            return None
        before, self._shown = self._shown, plan
        self._calls.add(event.item_id)
        return plan, plan.since(before)

    def ends(self, event: ToolFinished) -> bool:
        """Whether the end of a call needs no output of its own, because its plan was shown and it succeeded."""
        told = event.item_id in self._calls
        self._calls.discard(event.item_id)
        return told and event.status == "ok"
