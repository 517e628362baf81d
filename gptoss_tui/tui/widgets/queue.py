"""The prompts that wait for their turn, as typed, above the composer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui import lines
from gptoss_tui.tui.theme import Palette

SHOWN = 3


class QueueView(Widget):
    """One row a prompt, hidden when none waits."""

    DEFAULT_CSS = """
    QueueView { height: auto; display: none; margin: 0 0 0 2; }
    QueueView.-active { display: block; }
    """

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.prompts: Sequence[str] = ()

    def show(self, prompts: Sequence[str]) -> None:
        """Show the queue."""
        self.prompts = tuple(prompts)
        self.set_class(bool(prompts), "-active")
        self.refresh(layout=True)

    def render(self) -> Text:
        rows = [self._row(prompt) for prompt in self.prompts[:SHOWN]]
        if len(self.prompts) > SHOWN:
            rows.append(lines.text(f"  and {len(self.prompts) - SHOWN} more", self.palette.faint))
        return Text("\n", end="").join(rows)

    def _row(self, prompt: str) -> Text:
        row = Text.assemble(("queued  ", self.palette.accent), (to_terminal_line(prompt), self.palette.muted), end="")
        row.truncate(max(1, self.app.size.width - 4), overflow="ellipsis")
        return row
