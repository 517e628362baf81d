"""`update_plan`: the model shows its plan as a checklist. Nothing else changes, so no approval is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeGuard, get_args

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.tools.arguments import parse_arguments, wrong_arguments
from gptoss_tui.tools.base import Effect, ToolResult
from gptoss_tui.tools.declarations import UPDATE_PLAN

StepStatus = Literal["pending", "in_progress", "completed"]

MAX_STEPS: Final = 50
MAX_CHARS: Final = 500
"""The longest step or explanation that is shown in full; the rest is cut off."""

_STATUSES: Final = get_args(StepStatus)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a plan."""

    text: str
    status: StepStatus


@dataclass(frozen=True, slots=True)
class Checklist:
    """A plan: one step or more, at most one in progress. `explanation` may be empty; all texts are single lines."""

    steps: tuple[Step, ...]
    explanation: str = ""

    @property
    def done(self) -> int:
        """How many steps are completed."""
        return sum(step.status == "completed" for step in self.steps)

    @property
    def progress(self) -> str:
        """Completed and total steps, such as `3/7`."""
        return f"{self.done}/{len(self.steps)}"

    @property
    def current(self) -> str:
        """The step in progress; empty when there is none."""
        return next((step.text for step in self.steps if step.status == "in_progress"), "")

    def since(self, before: Checklist | None) -> tuple[Step, ...]:
        """The steps that are new, or whose status differs from that in the plan `before`."""
        known = set(before.steps) if before is not None else set()
        return tuple(step for step in self.steps if step not in known)


@dataclass(frozen=True, slots=True)
class UpdatePlanTool:
    """Accepts a plan and replies that it was shown; the user interfaces draw the plan from the call itself."""

    @property
    def name(self) -> str:
        return UPDATE_PLAN.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return UPDATE_PLAN

    async def prepare(self, arguments: str) -> UpdatePlanCall:
        """Parse the plan. Raises ToolError that says what is wrong with it."""
        return UpdatePlanCall(read_checklist(arguments))


@dataclass(frozen=True, slots=True)
class UpdatePlanCall:
    """A plan that can be shown."""

    checklist: Checklist

    @property
    def summary(self) -> str:
        return f"{UPDATE_PLAN.name} {self.checklist.progress} {self.checklist.current}".rstrip()

    @property
    def effect(self) -> Effect | None:
        return None

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        return ToolResult("Plan updated", data={"steps": len(self.checklist.steps), "done": self.checklist.done})


def read_checklist(arguments: str) -> Checklist:
    """Parse the plan that a model wrote. Raises ToolError that says what is wrong with it."""
    values = parse_arguments(arguments, UPDATE_PLAN)
    plan = values["plan"]
    if not isinstance(plan, list):
        raise wrong_arguments(UPDATE_PLAN, "plan is not a list of steps")
    if not plan:
        raise wrong_arguments(UPDATE_PLAN, "the plan has no steps")
    if len(plan) > MAX_STEPS:
        raise ToolError(f"update_plan: the plan has {len(plan)} steps, of at most {MAX_STEPS}. Put steps together.")
    steps = tuple(_step(number, entry) for number, entry in enumerate(plan, 1))
    busy = [str(number) for number, step in enumerate(steps, 1) if step.status == "in_progress"]
    if len(busy) > 1:
        raise ToolError(f"update_plan: steps {', '.join(busy)} are in_progress. At most one step can be.")
    return Checklist(steps, _line(values["explanation"] or ""))


def _step(number: int, entry: object) -> Step:
    if not isinstance(entry, Mapping):
        raise wrong_arguments(UPDATE_PLAN, f"step {number} of the plan is not an object")
    text, status = entry.get("step"), entry.get("status")
    if not isinstance(text, str) or not (line := _line(text)):
        raise wrong_arguments(UPDATE_PLAN, f"step {number} of the plan has no text")
    if not _is_status(status):
        given = f"the status {_line(status)[:40]!r}" if isinstance(status, str) else "no status"
        raise wrong_arguments(UPDATE_PLAN, f"step {number} of the plan has {given}, which is none of {_CHOICES}")
    return Step(line, status)


_CHOICES: Final = ", ".join(_STATUSES)


def _is_status(value: Any) -> TypeGuard[StepStatus]:
    return isinstance(value, str) and value in _STATUSES


def _line(text: str) -> str:
    """Put a text on one line and cut it if it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARS else f"{line[: MAX_CHARS - 1]}…"
