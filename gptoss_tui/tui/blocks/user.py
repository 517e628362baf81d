"""A message of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block, plural, readable
from gptoss_tui.tui.composing.message import people_say, split_message
from gptoss_tui.tui.composing.requests import typed

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

HEAD_ROWS = 24
"""How many rows of a long prompt are shown while it is collapsed."""


class UserBlock(Block):
    """A prompt, as typed, on a band of its own. Each attachment has a row; a long prompt can be opened."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.typed = typed(text)
        sent, self.attached = split_message(text)
        if self.typed != sent:
            self.attached = ["what it asks of the model, click to open", *self.attached]
        self.is_open = False

    def render(self, width: int, palette: Palette) -> list[Strip]:
        shown = self.text if self.is_open else self.typed
        rows = lines.paragraphs(shown, readable(width), palette.text)
        if not self.is_open and len(rows) > HEAD_ROWS:
            rest = plural(len(rows) - HEAD_ROWS, "more row")
            rows = [*rows[:HEAD_ROWS], lines.text(f"… {rest}, click to open", palette.muted)]
        if not self.is_open:
            rows += [lines.text(f"+ {people_say(line)}", palette.muted) for line in self.attached]
        bar = [Segment("▌ ", palette.user)]
        return lines.rows(rows, width, prefix=bar, base=palette.surface)

    def toggle(self) -> bool:
        self.is_open = not self.is_open
        return True

    def source(self) -> str:
        return self.text
