"""What a request for approval would do, in full: a scrolling view of a diff, a command, code or text."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.tui import lines
from gptoss_tui.tui.diff import render_diff
from gptoss_tui.tui.theme import Palette


class PreviewView(ScrollView, can_focus=False):
    """All of a preview: nothing in its middle is left out."""

    DEFAULT_CSS = """
    PreviewView {
        height: auto;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._preview = ""
        self._root = ""
        self._is_diff = False
        self._palette: Palette | None = None
        self._rows: list[Strip] = []

    def show(self, preview: str, *, is_diff: bool, root: str, palette: Palette) -> None:
        """Show another preview from its top; `root` is where the relative paths of a diff begin."""
        self._preview, self._is_diff, self._root, self._palette = preview, is_diff, root, palette
        self._draw(self._content_width() or self.app.size.width - 6)
        self.scroll_home(animate=False)

    def use_palette(self, palette: Palette) -> None:
        """Draw in other colours."""
        if self._palette is not None:
            self._palette = palette
            self._draw(self._content_width())

    @property
    def is_cut(self) -> bool:
        """Whether some rows are out of view."""
        return len(self._rows) > self.container_size.height

    @property
    def total_rows(self) -> int:
        """Rows of the whole preview."""
        return len(self._rows)

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        strip = (self._rows[row] if row < len(self._rows) else Strip([])).adjust_cell_length(self.size.width)
        if self._palette is not None:
            strip = strip.apply_style(self._palette.base)
        return strip.apply_offsets(0, row)

    def on_resize(self, event: events.Resize) -> None:
        self._draw(self._content_width())

    def _content_width(self) -> int:
        """Room for the scrollbar is always left, so that its coming changes no row."""
        return max(0, self.container_size.width - 1)

    def _draw(self, width: int) -> None:
        if self._palette is None or width < 1:
            return
        self._rows = self._render_preview(width, self._palette)
        self.virtual_size = Size(width, len(self._rows))
        self.refresh(layout=True)

    def _render_preview(self, width: int, palette: Palette) -> list[Strip]:
        if self._is_diff:
            return render_diff(self._preview, width, palette, self._root)
        source = to_terminal_text(self._preview.replace("\r", "␍")).split("\n")
        folded = [row for line in source for row in lines.fold(lines.text(line, palette.text), width - 1)]
        return lines.rows(folded, width, prefix=[Segment(" ")], base=palette.code_block)
