"""A scrollable view of an approval request, drawn as strips once per width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from gptoss_tui.agent.events import ApprovalRequest
    from gptoss_tui.tui.theme import Palette


class StripView(ScrollView, can_focus=False):
    """Base class for views of a request; `draw` creates their rows."""

    DEFAULT_CSS = """
    StripView {
        height: auto;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._request: ApprovalRequest | None = None
        self._palette: Palette | None = None
        self._rows: list[Strip] = []

    def draw(self, request: ApprovalRequest, width: int, palette: Palette) -> list[Strip]:
        """The rows, `width` cells wide."""
        raise NotImplementedError

    def show_request(self, request: ApprovalRequest, palette: Palette) -> None:
        """Show another request, scrolled to its top."""
        self._request, self._palette = request, palette
        self._draw(self._content_width() or self.app.size.width - 6)
        self.scroll_home(animate=False)

    def use_palette(self, palette: Palette) -> None:
        """Apply another palette."""
        if self._palette is not None:
            self._palette = palette
            self.draw_again()

    def draw_again(self) -> None:
        """Redraw the current request."""
        self._draw(self._content_width())

    @property
    def is_cut(self) -> bool:
        """Whether some rows are out of view."""
        return len(self._rows) > self.container_size.height

    @property
    def total_rows(self) -> int:
        """The number of rows of the whole request."""
        return len(self._rows)

    def scroll_rows(self, rows: int) -> bool:
        """Scroll by up to `rows` rows. Returns whether the view moved."""
        target = max(0, min(self.max_scroll_y, round(self.scroll_target_y) + rows))
        moved = target != round(self.scroll_target_y)
        if moved:
            self.scroll_to(y=target, animate=False)
        return moved

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        strip = (self._rows[row] if row < len(self._rows) else Strip([])).adjust_cell_length(self.size.width)
        if self._palette is not None:
            strip = strip.apply_style(self._palette.base)
        return strip.apply_offsets(0, row)

    def on_resize(self, event: events.Resize) -> None:
        self.draw_again()

    def _content_width(self) -> int:
        """The width of the rows. Space for the scrollbar is always reserved, so that its appearance changes no row."""
        return max(0, self.container_size.width - 1)

    def _draw(self, width: int) -> None:
        if self._request is None or self._palette is None or width < 1:
            return
        self._rows = self.draw(self._request, width, self._palette)
        self.virtual_size = Size(width, len(self._rows))
        self.refresh(layout=True)
