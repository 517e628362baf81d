"""A picture below the call that created it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from textual.strip import Strip

from gptoss_tui.tui.blocks.base import Block

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

INDENT: Final = 3

DrawRow = Callable[[int, int], Segment]
"""Returns the placeholder text for a row of a picture, given the row and the available columns."""


class PictureBlock(Block):
    """Rows that stand for a picture which the terminal holds. Its path is also part of the call's output."""

    def __init__(self, row: DrawRow, columns: int, rows: int, path: str) -> None:
        self.columns, self.rows = columns, rows
        self._row, self._path = row, path

    def render(self, width: int, palette: Palette) -> list[Strip]:
        indent, columns = Segment(" " * INDENT), min(self.columns, max(1, width - INDENT))
        return [Strip([indent, self._row(at, columns)], columns + INDENT) for at in range(self.rows)]

    def source(self) -> str:
        return self._path
