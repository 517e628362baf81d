"""The answers to a question, as keys and their meanings, on as many rows as needed. Each can be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.widget import Widget

from gptoss_tui.tui import lines

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette
    from gptoss_tui.tui.widgets.hints import Hint

GAP = 2
GROUP_GAP = 4


class Answers(Widget):
    """Shows groups of answers. The `note` above them says what the lasting answers would allow."""

    DEFAULT_CSS = """
    Answers { height: auto; }
    """

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self._groups: tuple[tuple[Hint, ...], ...] = ()
        self._note = ""
        self._spans: list[tuple[int, int, int, str]] = []

    def show(self, groups: Sequence[Sequence[Hint]], note: str = "") -> None:
        """Replace the answers; each group begins a new row, unless all fit into one row."""
        self._groups, self._note = tuple(map(tuple, groups)), note
        self.refresh(layout=True)

    def rows(self, width: int) -> int:
        """The number of rows needed at a width of `width` cells."""
        return len(self._lay_out(width)[0])

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self.rows(width)

    def render(self) -> Text:
        rows, self._spans = self._lay_out(self.size.width)
        return Text("\n", end="", no_wrap=True).join(rows)

    async def on_click(self, event: events.Click) -> None:
        """Run the action of the answer under the pointer."""
        for row, start, end, action in self._spans:
            if row == event.y and start <= event.x < end:
                event.stop()
                await self.app.run_action(action, self.parent)

    def _lay_out(self, width: int) -> tuple[list[Text], list[tuple[int, int, int, str]]]:
        room = max(8, width)
        rows = [Text(" ", end="").append_text(row) for row in self._note_rows(room - 1)]
        spans: list[tuple[int, int, int, str]] = []
        line = Text(" ", end="")
        for number, group in enumerate(self._groups):
            if number and not self._fits_in_one_row(room):
                rows.append(line)
                line = Text(" ", end="")
            gap = GROUP_GAP
            for key, what, action in group:
                hint = Text.assemble((key, self.palette.accent), (f" {what}", self.palette.muted), end="")
                if line.cell_len > 1 and line.cell_len + gap + hint.cell_len > room:
                    rows.append(line)
                    line = Text(" ", end="")
                if line.cell_len > 1:
                    line.append(" " * gap)
                spans.append((len(rows), line.cell_len, line.cell_len + hint.cell_len, action))
                line.append_text(hint)
                gap = GAP
        return [*rows, line] if self._groups else rows, spans

    def _fits_in_one_row(self, room: int) -> bool:
        hints = [cell_len(key) + 1 + cell_len(what) for group in self._groups for key, what, _ in group]
        groups = len(self._groups)
        return 1 + sum(hints) + GAP * (len(hints) - groups) + GROUP_GAP * (groups - 1) <= room

    def _note_rows(self, width: int) -> list[Text]:
        return lines.wrap(lines.text(self._note, self.palette.text), width) if self._note else []
