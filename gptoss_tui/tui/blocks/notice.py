"""Messages from the app itself: errors with hints, warnings, notes, and the line that sums up a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import MARGIN, Block, readable, sentence

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

NoticeKind = Literal["error", "warning", "info"]

COLUMN_GAP = "  "
"""The minimum gap between a name and its description in a message with two columns."""

_MARKS: dict[NoticeKind, str] = {"error": "✗", "warning": "!", "info": "·"}


class NoticeBlock(Block):
    """A message from the app. `hint` says what to do next."""

    def __init__(self, kind: NoticeKind, message: str, hint: str = "", *, series: str = "") -> None:
        self.kind = kind
        self.series = series
        self.message = message
        self.hint = sentence(hint)

    def render(self, width: int, palette: Palette) -> list[Strip]:
        style = {"error": palette.error, "warning": palette.warning, "info": palette.muted}[self.kind]
        inner = readable(width) - 2
        rows = [row for line in self.message.split("\n") for row in _hanging(line, inner, style)]
        if self.hint:
            rows += [("", row) for row in lines.paragraphs(self.hint, inner, palette.muted)]
        marks = [Segment(f"{_MARKS[self.kind]} ", style), *[Segment("  ")] * (len(rows) - 1)]
        space = Segment(" " * MARGIN)
        return [
            lines.strip(row, width, prefix=[space, mark, Segment(indent)])
            for mark, (indent, row) in zip(marks, rows, strict=True)
        ]

    def source(self) -> str:
        return f"{self.message}\n{self.hint}".rstrip()


def _hanging(line: str, width: int, style: Style) -> list[tuple[str, Text]]:
    """Wrap a line, giving each row with its indentation: text in a second column continues below that column."""
    name, gap, what = line.partition(COLUMN_GAP)
    column = len(line) - len(what.lstrip())
    if not name or not gap or column > width // 2:
        return [("", row) for row in lines.wrap(lines.text(line, style), width)]
    first, *rest = lines.wrap(lines.text(line[column:], style), width - column)
    joined = lines.text(line[:column], style).append_text(first)
    joined.end = first.end
    return [("", joined), *((" " * column, row) for row in rest)]


class SummaryBlock(Block):
    """One unobtrusive row at the end of a turn."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, width: int, palette: Palette) -> list[Strip]:
        rule = lines.text(f"─── {self.text} ", palette.faint)
        return lines.shift([lines.strip(rule, width - MARGIN)], MARGIN, width)

    def source(self) -> str:
        return ""
