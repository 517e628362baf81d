"""The plan of a conversation for fronts: what a call of `update_plan` shows, safe for a terminal."""

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
    """The plan that a call shows; None for other calls, and for a plan that the model is told to mend."""
    if not shows_plan(event.tool):
        return None
    try:
        plan = read_checklist(event.arguments)
    except ToolError:
        return None
    steps = tuple(replace(step, text=to_terminal_line(step.text)) for step in plan.steps)
    return Checklist(steps, to_terminal_line(plan.explanation))


class PlanFollower:
    """For fronts that cannot draw over what they said: each plan once, and of it what the one before did not have."""

    def __init__(self) -> None:
        self._shown: Checklist | None = None
        self._calls: set[str] = set()

    def told_by(self, event: ToolCall) -> tuple[Checklist, tuple[Step, ...]] | None:
        """The plan that a call shows, and its steps that changed."""
        plan = checklist_of(event)
        if plan is None:
            return None
        before, self._shown = self._shown, plan
        self._calls.add(event.item_id)
        return plan, plan.since(before)

    def ends(self, event: ToolFinished) -> bool:
        """Whether the end of a call says nothing that its plan did not."""
        told = event.item_id in self._calls
        self._calls.discard(event.item_id)
        return told and event.status == "ok"
