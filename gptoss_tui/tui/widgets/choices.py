"""A list of rows to choose from, drawn line by line as one widget. Used by the completion and by pickers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from gptoss_tui.tui import lines

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

MARK = "❯ "
_MAX_LABEL_SHARE = 0.6
_MIN_DETAIL = 16
"""If details would get fewer cells than this, the tails of the rows are dropped."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One row. All text must be safe for the terminal; `positions` are the matched characters of `label`.

    `detail` is shown in a second column, `tail` at the end of the row; a `dim` row cannot be chosen.
    """

    label: str
    detail: str = ""
    tail: str = ""
    positions: tuple[int, ...] = ()
    dim: bool = False


class ChoiceList(Widget):
    """Shows the rows around the selected one. Keys are handled by the owner of the list."""

    DEFAULT_CSS = """
    ChoiceList { height: auto; }
    ChoiceList#completion { display: none; layer: popups; dock: bottom; width: 100%; max-width: 100; margin: 0 1; }
    """

    class Hovered(Message):
        """The selection was moved by the mouse."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    class Chosen(Message):
        """A row was clicked."""

        def __init__(self, choices: ChoiceList, index: int) -> None:
            super().__init__()
            self.choices = choices
            self.index = index

        @property
        def control(self) -> ChoiceList:
            """The list, for selectors in `on`."""
            return self.choices

    def __init__(self, palette: Palette, *, max_rows: int = 8, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.max_rows = max_rows
        self.rows: Sequence[Choice] = ()
        self.selected = 0
        self._top = 0

    def show(self, rows: Sequence[Choice], selected: int = 0) -> None:
        """Replace the rows; the layout is only refreshed if the height changes."""
        before = self._height()
        self.rows, self._top = tuple(rows), 0
        self.select(selected)
        self.refresh(layout=self._height() != before)

    def select(self, index: int) -> None:
        """Select a row and scroll it into view."""
        self.selected = max(0, min(index, len(self.rows) - 1))
        height = self._visible()
        self._top = min(max(self._top, self.selected - height + 1), self.selected)
        self.refresh(layout=False)

    def move(self, step: int, *, around: bool = True) -> None:
        """Move the selection by `step` rows, wrapping around at the ends if `around`."""
        if not self.rows:
            return
        index = self.selected + step
        self.select(index % len(self.rows) if around else index)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._height()

    def _height(self) -> int:
        return min(len(self.rows), self.max_rows)

    def _visible(self) -> int:
        """The number of visible rows; before the first layout, an estimate."""
        return self.size.height or max(1, self._height())

    def render_line(self, y: int) -> Strip:
        width, index = self.size.width, self._top + y
        if index >= len(self.rows):
            return Strip.blank(width, self.palette.surface)
        base = self.palette.panel if index == self.selected else self.palette.surface
        return lines.strip(self._row(self.rows[index], index == self.selected, width), width, base=base)

    def _row(self, row: Choice, selected: bool, width: int) -> Text:
        left = lines.text(MARK if selected else "  ", self.palette.accent)
        label = lines.text("", Style.null()).append(row.label, self._label_style(row, selected))
        for place in row.positions:
            label.stylize(self.palette.heading, place, place + 1)
        if row.detail:
            label.truncate(self._label_column(width), overflow="ellipsis", pad=True)
            label.append("  ")
            label.append(row.detail, self.palette.faint if row.dim else self.palette.muted)
        left.append_text(label)
        tail = (row.tail if self._has_room_for_tails(width) else "") or (
            f"{self.selected + 1}/{len(self.rows)}" if selected and self._hides_some else ""
        )
        if not tail:
            left.truncate(width - 1, overflow="ellipsis")
            return left
        return lines.spread(left, lines.text(f"{tail} ", self.palette.faint), width)

    @property
    def _rows_in_view(self) -> Sequence[Choice]:
        return self.rows[self._top : self._top + self._visible()]

    def _label_column(self, width: int) -> int:
        return min(max(len(row.label) for row in self._rows_in_view), int(width * _MAX_LABEL_SHARE))

    def _has_room_for_tails(self, width: int) -> bool:
        """Whether there is room for readable details next to the tails."""
        details = max(len(row.detail) for row in self._rows_in_view)
        tails = max(len(row.tail) for row in self._rows_in_view)
        room = width - len(MARK) - self._label_column(width) - tails - 5
        return room >= min(details, _MIN_DETAIL)

    @property
    def _hides_some(self) -> bool:
        return len(self.rows) > self._visible()

    def _label_style(self, row: Choice, selected: bool) -> Style:
        if row.dim:
            return self.palette.faint
        return self.palette.strong if selected else self.palette.text

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move the selection down by a row."""
        event.stop()
        self.move(1, around=False)
        self.post_message(self.Hovered(self.selected))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move the selection up by a row."""
        event.stop()
        self.move(-1, around=False)
        self.post_message(self.Hovered(self.selected))

    def on_click(self, event: events.Click) -> None:
        """Choose the row under the pointer."""
        event.stop()
        index = self._top + event.y
        if index < len(self.rows):
            self.select(index)
            self.post_message(self.Chosen(self, index))
