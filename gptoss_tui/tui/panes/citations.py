"""The pages that answers cite, numbered as in the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.segment import Segment
from rich.text import Text
from textual.message import Message
from textual.strip import Strip

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block
from gptoss_tui.tui.links import linked
from gptoss_tui.tui.panes.base import Item, ItemView, Pane

if TYPE_CHECKING:
    from gptoss_tui.tools.base import Citation
    from gptoss_tui.tui.theme import Palette


class AnswerHead(Block):
    """A header that names the answer to which the citations below belong."""

    gap = 0

    def __init__(self, number: int, question: str) -> None:
        self.text = f" {number}  {question}"

    def render(self, width: int, palette: Palette) -> list[Strip]:
        title = lines.text(self.text, palette.muted)
        title.truncate(width, overflow="ellipsis")
        return [lines.strip(title, width)]


class PageItem(Item):
    """A page cited by one answer, with all of its cited lines."""

    def __init__(self, citations: Sequence[Citation]) -> None:
        self.citations = tuple(citations)
        first = self.citations[0]
        self.number = first.number
        self.title = to_terminal_line(first.title) or "a page without a title"
        self.url = to_terminal_line(first.url)

    def render(self, width: int, palette: Palette) -> list[Strip]:
        base = palette.panel if self.selected else None
        label = f"  [{self.number}] "
        space = [Segment(" " * len(label))]
        title = lines.wrap(lines.text(self.title, palette.strong), max(8, width - len(label)))[:3]
        rows: list[Strip] = [lines.strip(title[0], width, prefix=[Segment(label, palette.accent)], base=base)]
        rows += lines.rows(title[1:], width, prefix=space, base=base)
        where = Text.assemble((host(self.url), linked(palette.link, self.url)), end="")
        if cited := _lines(self.citations):
            where.append(f"  {cited}", palette.muted)
        where.truncate(max(8, width - len(label)), overflow="ellipsis")
        return [*rows, lines.strip(where, width, prefix=space, base=base)]

    def source(self) -> str:
        return f"[{self.number}] {self.title} {self.url} {_lines(self.citations)}".rstrip()


class CitationsPane(Pane):
    """The cited pages, in the order of the answers. Enter opens one at its cited lines."""

    NAME, LABEL = "citations", "Citations"
    PURPOSE = "The pages that answers cite."

    class Wanted(Message):
        """Posted when the user wants to read a page at the cited lines."""

        def __init__(self, citations: tuple[Citation, ...]) -> None:
            super().__init__()
            self.citations = citations

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[str, list[Block]] = {}

    def add(self, turn_id: str, question: str, citations: Sequence[Citation]) -> None:
        """Add the pages of a complete answer; citations without a number point at nothing and are skipped."""
        pages: dict[int, list[Citation]] = {}
        for citation in citations:
            if citation.number:
                pages.setdefault(citation.number, []).append(citation)
        if not pages:
            return
        blocks: list[Block] = [AnswerHead(len(self._answers) + 1, question)]
        blocks += [PageItem(pages[number]) for number in sorted(pages)]
        self._answers.setdefault(turn_id, []).extend(blocks)
        for block in blocks:
            self.view.add(block)

    def drop(self, turn_ids: Sequence[str]) -> None:
        """Remove turns that were taken back."""
        for turn_id in turn_ids:
            self.view.remove_block(*self._answers.pop(turn_id, ()))

    def clear(self) -> None:
        """Remove everything."""
        self._answers.clear()
        super().clear()

    def note(self) -> str:
        """The number of pages."""
        pages = len(self.view.items)
        return str(pages) if pages else ""

    def on_item_view_chosen(self, event: ItemView.Chosen) -> None:
        """Open the page."""
        event.stop()
        if isinstance(event.item, PageItem):
            self.post_message(self.Wanted(event.item.citations))


def host(url: str) -> str:
    """A short name for the source of a page: `example.com`, `local documents`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.scheme in ("http", "https") and parts.netloc:
        return parts.netloc.rpartition("@")[2]
    return url or "unknown place"


def _lines(citations: Sequence[Citation]) -> str:
    spans = {(c.first_line, c.last_line): None for c in citations if c.first_line is not None}
    return ", ".join(f"L{first}" if first == last else f"L{first}-L{last}" for first, last in spans)
