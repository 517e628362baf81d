"""A page that an answer cites, opened at the cited lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Static

from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block
from gptoss_tui.tui.links import linked
from gptoss_tui.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from gptoss_tui.tools.base import Citation
    from gptoss_tui.tui.theme import Palette

CHUNK = 40
"""Lines of a page per block; blocks out of view are not drawn."""


class PageLines(Block):
    """Some lines of a page, with their numbers; cited lines have a bar and another background."""

    gap = 0

    def __init__(self, first: int, source: Sequence[str], cited: frozenset[int], digits: int) -> None:
        self.first = first
        self._source = source
        self._cited = cited
        self._digits = digits

    def render(self, width: int, palette: Palette) -> list[Strip]:
        return [row for index in range(len(self._source)) for row in self._line(index, width, palette)]

    def row_of(self, line: int, width: int, palette: Palette) -> int:
        """The row of this block at which a line of the page begins."""
        return sum(len(self._line(index, width, palette)) for index in range(line - self.first))

    def source(self) -> str:
        return "\n".join(self._source)

    def _line(self, index: int, width: int, palette: Palette) -> list[Strip]:
        number = self.first + index
        is_cited = number in self._cited
        base = palette.panel if is_cited else None
        bar = Segment("▎" if is_cited else " ", palette.accent)
        label, space = f"{number:>{self._digits}}  ", " " * (self._digits + 2)
        room = max(8, width - len(space) - 2)
        wrapped = lines.wrap(lines.text(self._source[index], palette.text if is_cited else palette.muted), room)
        first = lines.strip(wrapped[0], width, prefix=[bar, Segment(label, palette.faint)], base=base)
        return [first, *lines.rows(wrapped[1:], width, prefix=[bar, Segment(space)], base=base)]


class PageScreen(ModalScreen[None]):
    """The text of a page as the model read it. N goes to the next cited passage."""

    CSS = """
    PageScreen { align: center middle; }
    #page { width: 90%; max-width: 130; height: 90%; border: round $border; background: $background; }
    #page-head { height: 2; padding: 0 1; background: $surface; }
    #page-lines { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f5", "dismiss", "Close the page", id="page.close"),
        Binding("n", "go(1)", "Next cited lines", id="page.next"),
        Binding("N", "go(-1)", "Cited lines before", id="page.previous"),
        Binding("up", "scroll(-1)", "One line up", id="page.up"),
        Binding("down", "scroll(1)", "One line down", id="page.down"),
        Binding("pageup", "scroll_page(-1)", "One page up", id="page.page_up"),
        Binding("pagedown,space", "scroll_page(1)", "One page down", id="page.page_down"),
    ]

    def __init__(self, citations: Sequence[Citation], text: Sequence[str], palette: Palette) -> None:
        super().__init__()
        self._title = to_terminal_line(citations[0].title) or "a page without a title"
        self._url = to_terminal_line(citations[0].url)
        self._lines = [to_terminal_text(line).replace("\n", " ") for line in text]
        spans = [(c.first_line, c.last_line or c.first_line) for c in citations if c.first_line is not None]
        self._cited = frozenset(line for first, last in spans for line in range(first, last + 1))
        self._places = sorted({first for first, _ in spans if first < len(self._lines)})
        self._at = 0
        self._palette = palette

    def compose(self) -> ComposeResult:
        with Vertical(id="page"):
            yield Static(self._head(), id="page-head", markup=False)
            yield Transcript(id="page-lines")

    def on_mount(self) -> None:
        """Add the lines; scrolling to the passage waits until the width is known."""
        self._view = self.query_one(Transcript)
        self.query_one("#page").border_subtitle = "n next place · Esc close"
        self._view.following = False
        self._view.set_palette(self._palette)
        digits = len(str(len(self._lines)))
        for first in range(0, len(self._lines), CHUNK):
            self._view.add(PageLines(first, self._lines[first : first + CHUNK], self._cited, digits))
        self.call_after_refresh(self._open)

    def _open(self) -> None:
        self._view.following = False
        self._view.flush()
        self._view.scroll_to(y=0, animate=False)
        self.action_go(0)

    def action_go(self, step: int) -> None:
        """Go to a cited passage, `step` passages on."""
        if not self._places:
            return
        self._at = (self._at + step) % len(self._places)
        line = self._places[self._at]
        block = next(b for b in self._view.blocks if isinstance(b, PageLines) and b.first <= line < b.first + CHUNK)
        width = self._view.scrollable_content_region.width
        self._view.show_block(block, block.row_of(line, width, self._palette))

    def action_scroll(self, rows: int) -> None:
        """Scroll by `rows` rows."""
        self._view.scroll_relative(y=rows, animate=False)

    def action_scroll_page(self, direction: int) -> None:
        """Scroll one page up or down."""
        self._view.scroll_page(direction)

    def _head(self) -> Text:
        title = lines.text(self._title, self._palette.heading)
        title.truncate(120, overflow="ellipsis")
        url = lines.text(self._url, linked(self._palette.link, self._url))
        url.truncate(120, overflow="ellipsis")
        return Text("\n").join([title, url])
