"""A row of keys and their meanings; each can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events
from textual.widget import Widget

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

Hint = tuple[str, str, str]
"""The key as displayed, its meaning, and the action of a click in the namespace of the line's parent, or none."""

GAP = 3


class HintLine(Widget):
    """Shows as many hints as fit, in order."""

    DEFAULT_CSS = """
    HintLine { height: 1; }
    """

    def __init__(self, palette: Palette, hints: Sequence[Hint] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.hints = hints
        self._spans: list[tuple[int, int, str]] = []

    def show(self, hints: Sequence[Hint]) -> None:
        """Replace the hints."""
        self.hints = hints
        self.refresh(layout=False)

    def render(self) -> Text:
        line = Text(" ", end="", no_wrap=True)
        self._spans = []
        needed = sum(len(key) + len(what) + 1 + GAP for key, what, _ in self.hints)
        gap = GAP if needed <= self.size.width else GAP - 1
        for key, what, action in self.hints:
            start, end = line.cell_len, line.cell_len + len(key) + 1 + len(what)
            if end > self.size.width:
                break
            if action:
                self._spans.append((start, end, action))
            line.append(key, self.palette.accent)
            line.append(f" {what}", self.palette.muted).append(" " * gap)
        return line

    async def on_click(self, event: events.Click) -> None:
        """Run the action of the hint under the pointer."""
        for start, end, action in self._spans:
            if start <= event.x < end:
                event.stop()
                await self.app.run_action(action, self.parent)
