"""Growing plain text; the rows of complete lines are drawn only once per width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from gptoss_tui.tui import lines


class PlainView:
    """A growing text at one width, wrapped, with a prefix before each row."""

    def __init__(self, prefix: Sequence[Segment] = ()) -> None:
        self._prefix = prefix
        self._key: tuple[int, Style] | None = None
        self._done = 0
        self._rows: list[Strip] = []

    def render(self, text: str, width: int, style: Style) -> list[Strip]:
        """The rows of `text`, which must begin with the previous call's text. Rows of complete lines are reused."""
        if self._key != (width, style) or self._done > len(text):
            self._key, self._done, self._rows = (width, style), 0, []
        complete = text.rfind("\n") + 1
        if complete > self._done:
            self._rows += self._draw(text[self._done : complete - 1], width, style)
            self._done = complete
        return [*self._rows, *self._draw(text[complete:], width, style)]

    def _draw(self, text: str, width: int, style: Style) -> list[Strip]:
        room = width - sum(segment.cell_length for segment in self._prefix)
        return lines.rows(lines.paragraphs(text, room, style), width, prefix=self._prefix)
