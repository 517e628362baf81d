"""The sampled tokens of one step exactly as the model wrote them, including special tokens (`--raw`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip

from gptoss_tui.tui.blocks.base import MARGIN, Block, readable
from gptoss_tui.tui.plain import PlainView

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette


class RawBlock(Block):
    """The raw text of one step; it grows while the step runs."""

    def __init__(self) -> None:
        self._pieces = [""]
        self._view = PlainView([Segment(" " * MARGIN)])

    def append(self, text: str) -> None:
        """Add sampled text."""
        self._pieces.append(text)

    def render(self, width: int, palette: Palette) -> list[Strip]:
        return self._view.render(self.source(), readable(width) + MARGIN, palette.faint)

    def source(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]
