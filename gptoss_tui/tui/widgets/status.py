"""The status line: activity, model, sandbox, how full the context is, and the speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import SPINNER, count, seconds

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

Activity = Literal[
    "loading", "failed", "ready", "reading", "thinking", "answering", "calling", "tool", "command", "approval"
]

_LABELS: dict[Activity, str] = {
    "loading": "loading",
    "failed": "no model",
    "ready": "ready",
    "reading": "reading the prompt",
    "thinking": "thinking",
    "answering": "answering",
    "calling": "writing a call",
    "tool": "running a tool",
    "command": "running your command",
    "approval": "waits for you",
}
_STILL: dict[Activity, str] = {"ready": "●", "failed": "✗", "approval": "?"}
_GAUGE_CELLS = 8
_GAP = "  ·  "


@dataclass(slots=True)
class Status:
    """What the line shows. Context in tokens, speed in tokens per second; `speed_is_estimate` while text streams.

    `context_cached` is None if unknown. `first_token_seconds` is the time from a message to its first token.
    """

    activity: Activity = "loading"
    detail: str = ""
    model: str = ""
    backend: str = ""
    device: str = ""
    sandbox: str = ""
    context_used: int = 0
    context_cached: int | None = None
    context_limit: int = 0
    tokens_per_second: float = 0.0
    speed_is_estimate: bool = False
    first_token_seconds: float = 0.0


def engine_place(backend: str, device: str) -> str:
    """Where a model runs: `native cpu`, or for a remote server `vLLM at 127.0.0.1:8000`."""
    return device if backend == "remote" and device else " ".join(name for name in (backend, device) if name)


_Part = list[tuple[int, Text]]
"""A part of the line: its forms, longest first, each with its importance. If space is short, the least important form
of all parts is replaced by the next one of its part, or removed if it is the last.
"""


class StatusLine(Widget):
    """One row of fixed size, so that an update never moves anything else."""

    DEFAULT_CSS = """
    StatusLine { height: 1; background: $surface; }
    """

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.status = Status()
        self.palette = palette
        self._frame = 0

    def changed(self) -> None:
        """Repaint the line without a new layout."""
        self.refresh(layout=False)

    def tick(self) -> None:
        """Advance the spinner."""
        if self.status.activity not in _STILL:
            self._frame += 1
            self.changed()

    def render(self) -> Text:
        room = max(1, self.size.width - 2)
        left = [self._activity(), *self._model()]
        right = [*self._sandbox(), *self._context_gauge(), *self._first_token(), *self._speed()]
        _fit(left, right, room)
        line = lines.spread(self._join(left), self._join(right), room)
        return Text.assemble(" ", line, end="", no_wrap=True)

    def _join(self, parts: list[_Part]) -> Text:
        return lines.text(_GAP, self.palette.faint).join([part[0][1] for part in parts])

    def _activity(self) -> _Part:
        activity = self.status.activity
        style = self._activity_style(activity)
        mark = _STILL.get(activity) or SPINNER[self._frame % len(SPINNER)]
        text = lines.text(f"{mark} {_LABELS[activity]}", style)
        short = text.copy()
        if self.status.detail:
            text.append(f" {self.status.detail}", self.palette.muted)
        return [(4, text), (9, short)] if self.status.detail else [(9, text)]

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

    def _model(self) -> list[_Part]:
        status, muted = self.status, self.palette.muted
        if not status.model:
            return []
        where = engine_place(status.backend, status.device)
        full = f"{status.model} on {where}" if where else status.model
        return [[(5, lines.text(full, muted)), (7, lines.text(status.model, muted))]]

    def _sandbox(self) -> list[_Part]:
        name = self.status.sandbox
        if not name:
            return []
        style = self.palette.warning if name.startswith("no ") else self.palette.muted
        return [[(6, lines.text(name, style))]]

    def _context_gauge(self) -> list[_Part]:
        limit, used = self.status.context_limit, self.status.context_used
        if not limit:
            return []
        share, faint, muted = min(1.0, used / limit), self.palette.faint, self.palette.muted
        style = self.palette.error if share > 0.9 else self.palette.warning if share > 0.7 else self.palette.ok
        filled = round(share * _GAUGE_CELLS) or (1 if used else 0)
        numbers = lines.text(f"{count(used)}/{count(limit)}", muted if share <= 0.7 else style)
        bar = lines.text("context ", faint).append("━" * filled, style)
        bar.append("─" * (_GAUGE_CELLS - filled) + " ", faint)
        cached = lines.text("", faint)
        if self.status.context_cached is not None and used:
            cached.append(f" {min(100, 100 * self.status.context_cached // used)}% cached", faint)
        return [[(1, bar + numbers + cached), (3, numbers + cached), (8, numbers)]]

    def _first_token(self) -> list[_Part]:
        waited = self.status.first_token_seconds
        return [[(2, lines.text(f"first token {seconds(waited)}", self.palette.muted))]] if waited else []

    def _speed(self) -> list[_Part]:
        speed = self.status.tokens_per_second
        if not speed:
            return []
        about = "≈" if self.status.speed_is_estimate else ""
        return [[(4, lines.text(f"{about}{speed:.0f} tok/s", self.palette.muted))]]


def _fit(left: list[_Part], right: list[_Part], room: int) -> None:
    """Shorten and drop parts until both sides fit into `room` cells, with a gap between them."""

    def width(parts: list[_Part]) -> int:
        return sum(part[0][1].cell_len for part in parts) + len(_GAP) * max(0, len(parts) - 1)

    while width(left) + width(right) + len(_GAP) > room and len(left) + len(right) > 1:
        part = min([*left, *right], key=lambda part: part[0][0])
        side = left if any(part is other for other in left) else right
        if len(part) > 1:
            del part[0]
        else:
            side[:] = [other for other in side if other is not part]
