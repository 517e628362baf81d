"""What the person wrote."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block, readable
from gptoss_tui.tui.theme import Palette


class UserBlock(Block):
    """A prompt, as typed, on a band of its own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, width: int, palette: Palette) -> list[Strip]:
        rows = lines.paragraphs(self.text, readable(width), palette.text)
        bar = [Segment("▌ ", palette.user)]
        return lines.rows(rows, width, prefix=bar, base=palette.surface)

    def source(self) -> str:
        return self.text
