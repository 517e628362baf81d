"""A plan as a checklist: the newest one with all its steps, earlier ones as one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.tool import ToolBlock
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.agent import checklist as plans
    from gptoss_tui.tools.update_plan import Checklist, Step
    from gptoss_tui.tui.theme import Palette
else:
    plans = late("gptoss_tui.agent.checklist")

_STRUCK = Style(strike=True)


class PlanBlock(ToolBlock):
    """A call that shows a plan. It looks like any other call while it is being written, and if it failed."""

    TOOL = "update_plan"
    """Repeated here, because importing it from `tools/` would delay drawing the first call of any tool."""

    def __init__(self, tool: str) -> None:
        super().__init__(tool)
        self.checklist: Checklist | None = None
        self.is_newest = False

    def toggle(self) -> bool:
        """Toggle the block. The newest plan is always open; the choice takes effect once another plan follows."""
        return super().toggle() and not self.is_newest

    def reveal(self) -> bool:
        return super().reveal() and not self.is_newest

    def source(self) -> str:
        plan = self._shown
        if plan is None:
            return super().source()
        steps = (f"{plans.MARKS[step.status]} {step.text}" for step in plan.steps)
        return "\n".join((f"Plan {plan.progress}", *((plan.explanation,) if plan.explanation else ()), *steps))

    def render(self, width: int, palette: Palette) -> list[Strip]:
        plan = self._shown
        if plan is None:
            return super().render(width, palette)
        bar = Segment(" ▎ ", palette.ok if plan.done == len(plan.steps) else palette.heading)
        is_open = self.is_newest or self.is_open
        head = Text.assemble(("Plan", palette.strong), (f" {plan.progress}", palette.muted), end="")
        if not is_open:
            head.append(f"  {plan.current}", palette.faint)
        head.truncate(width - 4, overflow="ellipsis")
        rows: list[Strip] = [lines.strip(head, width, prefix=[bar], base=palette.surface)]
        return rows + [
            lines.beside([bar], row, width) for row in (self._list(plan, width - 4, palette) if is_open else ())
        ]

    @property
    def _shown(self) -> Checklist | None:
        return self.checklist if self.state in ("running", "ok") else None

    def _list(self, plan: Checklist, width: int, palette: Palette) -> list[Strip]:
        why = lines.paragraphs(plan.explanation, width, palette.muted) if plan.explanation else []
        return lines.rows(why, width) + [row for step in plan.steps for row in _draw(step, width, palette)]


def _draw(step: Step, width: int, palette: Palette) -> list[Strip]:
    """A step after its mark, with wrapped rows aligned."""
    mark, text = {
        "completed": (palette.ok, palette.muted + _STRUCK),
        "in_progress": (palette.heading, palette.strong),
        "pending": (palette.muted, palette.text),
    }[step.status]
    first = Segment(f"{plans.MARKS[step.status]} ", mark)
    wrapped = lines.paragraphs(step.text, max(8, width - 2), text)
    return [
        lines.strip(row, width, prefix=[first if number == 0 else Segment("  ")]) for number, row in enumerate(wrapped)
    ]
