"""What the app itself says: errors with their hints, warnings, notes, and the line that sums up a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.segment import Segment
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import MARGIN, Block, readable, sentence

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

NoticeKind = Literal["error", "warning", "info"]

_MARKS: dict[NoticeKind, str] = {"error": "✗", "warning": "!", "info": "·"}


class NoticeBlock(Block):
    """A message of the app. `hint` says what to do next."""

    def __init__(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        self.kind = kind
        self.message = message
        self.hint = sentence(hint)

    def render(self, width: int, palette: Palette) -> list[Strip]:
        style = {"error": palette.error, "warning": palette.warning, "info": palette.muted}[self.kind]
        inner = readable(width) - 2
        rows = lines.paragraphs(self.message, inner, style)
        if self.hint:
            rows += lines.paragraphs(self.hint, inner, palette.muted)
        space = Segment(" " * MARGIN)
        first = lines.strip(rows[0], width, prefix=[space, Segment(f"{_MARKS[self.kind]} ", style)])
        return [first, *lines.rows(rows[1:], width, prefix=[space, Segment("  ")])]

    def source(self) -> str:
        return f"{self.message}\n{self.hint}".rstrip()


class SummaryBlock(Block):
    """One quiet row at the end of a turn."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, width: int, palette: Palette) -> list[Strip]:
        rule = lines.text(f"─── {self.text} ", palette.faint)
        return lines.shift([lines.strip(rule, width - MARGIN)], MARGIN, width)

    def source(self) -> str:
        return ""
