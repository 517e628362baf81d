"""The row of keys at the bottom; each hint can be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual.widget import Widget

from gptoss_tui.tui.theme import Palette

Hint = tuple[str, str, str]
"""The key as written, what it does, and the action that a click runs."""


class HintLine(Widget):
    """As many hints as fit, the first ones first."""

    DEFAULT_CSS = """
    HintLine { height: 1; background: $background; }
    """

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.hints: Sequence[Hint] = ()

    def show(self, hints: Sequence[Hint]) -> None:
        """Show other hints."""
        self.hints = hints
        self.refresh(layout=False)

    def render(self) -> Text:
        line = Text(" ", end="", no_wrap=True)
        for key, what, action in self.hints:
            click = Style(meta={"@click": action})
            hint = Text.assemble((key, self.palette.accent + click), (f" {what}", self.palette.muted + click))
            if line.cell_len + hint.cell_len + 3 > self.size.width:
                break
            line.append_text(hint).append("   ")
        return line
