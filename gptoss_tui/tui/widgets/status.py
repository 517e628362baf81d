"""The status line: what runs, how hard it thinks, how full its context is, how fast it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from gptoss_tui.harmony.messages import EFFORTS, Effort
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import SPINNER, count
from gptoss_tui.tui.theme import Palette

Activity = Literal["loading", "failed", "ready", "reading", "thinking", "answering", "calling", "tool", "approval"]

_LABELS: dict[Activity, str] = {
    "loading": "loading",
    "failed": "no model",
    "ready": "ready",
    "reading": "reading the prompt",
    "thinking": "thinking",
    "answering": "answering",
    "calling": "writing a call",
    "tool": "running a tool",
    "approval": "waits for you",
}
_STILL: dict[Activity, str] = {"ready": "●", "failed": "✗", "approval": "?"}
_GAUGE_CELLS = 8


@dataclass(slots=True)
class Status:
    """What the line shows. Context in tokens, speed in tokens a second; `speed_is_estimate` while it streams."""

    activity: Activity = "loading"
    detail: str = ""
    model: str = ""
    device: str = ""
    effort: Effort = "medium"
    context_used: int = 0
    context_limit: int = 0
    tokens_per_second: float = 0.0
    speed_is_estimate: bool = False


class StatusLine(Widget):
    """One row of fixed size: an update never moves anything else."""

    DEFAULT_CSS = """
    StatusLine { height: 1; background: $surface; }
    """

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.status = Status()
        self.palette = palette
        self._frame = 0

    def changed(self) -> None:
        """Paint the line again, at the same size."""
        self.refresh(layout=False)

    def tick(self) -> None:
        """Advance the spinner."""
        if self.status.activity not in _STILL:
            self._frame += 1
            self.changed()

    def render(self) -> Text:
        width = self.size.width
        left = self._join([self._activity(), self._model()])
        right = self._join([self._effort(), *self._context_gauge(wide=width >= 100), *self._speed()])
        line = lines.spread(left, right, max(1, width - 2))
        return Text.assemble(" ", line, end="", no_wrap=True)

    def _join(self, parts: list[Text]) -> Text:
        return lines.text("  ·  ", self.palette.faint).join([part for part in parts if part.plain])

    def _activity(self) -> Text:
        activity = self.status.activity
        style = self._activity_style(activity)
        mark = _STILL.get(activity) or SPINNER[self._frame % len(SPINNER)]
        text = lines.text(f"{mark} {_LABELS[activity]}", style)
        if self.status.detail:
            text.append(f" {self.status.detail}", self.palette.muted)
        return text

    def _activity_style(self, activity: Activity) -> Style:
        match activity:
            case "failed":
                return self.palette.error
            case "approval":
                return self.palette.warning
            case "ready":
                return self.palette.ok
            case _:
                return self.palette.heading

    def _model(self) -> Text:
        names = [name for name in (self.status.model, self.status.device) if name]
        return lines.text(" on ".join(names), self.palette.muted)

    def _effort(self) -> Text:
        level = EFFORTS.index(self.status.effort) + 1
        text = lines.text("effort ", self.palette.faint)
        text.append("▮" * level, self.palette.reasoning + Style(italic=False))
        text.append("▯" * (len(EFFORTS) - level), self.palette.faint)
        return text.append(f" {self.status.effort}", self.palette.muted)

    def _context_gauge(self, *, wide: bool) -> list[Text]:
        limit = self.status.context_limit
        if not limit:
            return []
        used = self.status.context_used
        share = min(1.0, used / limit)
        style = self.palette.error if share > 0.9 else self.palette.warning if share > 0.7 else self.palette.ok
        text = lines.text("context " if wide else "", self.palette.faint)
        if wide:
            filled = round(share * _GAUGE_CELLS) or (1 if used else 0)
            text.append("━" * filled, style)
            text.append("━" * (_GAUGE_CELLS - filled) + " ", self.palette.faint)
        return [text.append(f"{count(used)}/{count(limit)}", self.palette.muted)]

    def _speed(self) -> list[Text]:
        speed = self.status.tokens_per_second
        if not speed:
            return []
        about = "≈" if self.status.speed_is_estimate else ""
        return [lines.text(f"{about}{speed:.0f} tok/s", self.palette.muted)]
