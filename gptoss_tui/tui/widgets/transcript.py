"""The conversation as one widget: blocks drawn as strips, only the visible rows touched.

A finished block is drawn once a width and kept as strips, so a conversation of any length costs one node. Changes are
collected by `touch` and drawn by `flush`, which the frame clock calls. The view follows the tail until the person
scrolls up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from gptoss_tui.tui.blocks.base import Block
from gptoss_tui.tui.theme import Palette

GAP = 1
KEPT_BLOCKS = 300
REFLOW_SLICE_SECONDS = 0.010


@dataclass(slots=True, eq=False)
class _Entry:
    """A block with the rows it was drawn to. `height` outlives `strips`; both are guesses while `stale`."""

    block: Block
    height: int = 1
    strips: list[Strip] | None = None
    stale: bool = True


class Transcript(ScrollView, can_focus=False):
    """Blocks from top to bottom, following the tail."""

    DEFAULT_CSS = """
    Transcript {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        background: $background;
    }
    """

    virtual_size: Reactive[Size] = Reactive(Size(0, 0), layout=False)
    following: reactive[bool] = reactive(True, repaint=False)

    class BlockClicked(Message):
        """A block was clicked on its row `row`."""

        def __init__(self, block: Block, row: int) -> None:
            super().__init__()
            self.block = block
            self.row = row

    class FollowingChanged(Message):
        """The view began or ceased to follow the tail."""

        def __init__(self, transcript: Transcript) -> None:
            super().__init__()
            self.transcript = transcript

        @property
        def control(self) -> Transcript:
            """The view, for selectors."""
            return self.transcript

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._entries: list[_Entry] = []
        self._index: dict[Block, int] = {}
        self._tops: list[int] = [0]
        self._dirty: set[int] = set()
        self._palette: Palette | None = None
        self._width = 0
        self._moving = False
        self._reflowing = False

    @property
    def blocks(self) -> list[Block]:
        """The blocks, oldest first."""
        return [entry.block for entry in self._entries]

    def add(self, block: Block) -> None:
        """Append a block."""
        self._index[block] = len(self._entries)
        self._entries.append(_Entry(block))
        self.touch(block)

    def touch(self, block: Block) -> None:
        """The block looks different now; the next flush draws it."""
        index = self._index.get(block)
        if index is not None:
            self._entries[index].stale = True
            self._dirty.add(index)

    def remove_block(self, block: Block) -> None:
        """Take a block out."""
        if block in self._index:
            self._replace([entry for entry in self._entries if entry.block is not block])

    def clear(self) -> None:
        """Take all blocks out."""
        self._replace([])

    def set_palette(self, palette: Palette) -> None:
        """Draw everything again in other colours."""
        self._palette = palette
        self._reflow()

    def flush(self) -> None:
        """Draw the blocks that were touched."""
        if not self._dirty or not self._width or self._palette is None:
            return
        dirty, self._dirty = sorted(self._dirty), set()
        self._redraw(dirty)
        self._forget_far_strips()

    def scroll_page(self, direction: int) -> None:
        """One page up (-1) or down (1)."""
        self.scroll_to(y=self.scroll_offset.y + direction * max(1, self.size.height - 2), animate=False)

    def to_tail(self) -> None:
        """Go to the end and follow it."""
        self.following = True
        self._scroll_without_notice(self.max_scroll_y)

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        strip = (self._row(row) or Strip([])).adjust_cell_length(self.size.width)
        if self._palette is not None:
            strip = strip.apply_style(self._palette.base)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(row)) is not None:
            strip = _mark(strip, span, self.selection_style)
        return strip.apply_offsets(0, row)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        total = self._tops[-1]
        start = selection.start.y if selection.start else 0
        end = selection.end.y if selection.end else total - 1
        rows = [self._row(y) for y in range(max(0, start), min(total, end + 1))]
        texts = [row.text.rstrip() if row else "" for row in rows]
        if not texts:
            return None
        if selection.end is not None and end < total:
            texts[-1] = texts[-1][: selection.end.x]
        if selection.start is not None:
            texts[0] = texts[0][selection.start.x :]
        return "\n".join(texts), "\n"

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self._reflow()
        elif self.following:
            self._scroll_without_notice(self.max_scroll_y)

    def on_click(self, event: events.Click) -> None:
        if self.screen.get_selected_text():
            return
        row = event.y + self.scroll_offset.y
        index = bisect_right(self._tops, row) - 1
        if 0 <= index < len(self._entries):
            self.post_message(self.BlockClicked(self._entries[index].block, row - self._tops[index]))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self._moving:
            self.following = new_value >= self.max_scroll_y

    def watch_following(self) -> None:
        self.post_message(self.FollowingChanged(self))

    def _replace(self, entries: list[_Entry]) -> None:
        self._entries = entries
        self._index = {entry.block: index for index, entry in enumerate(entries)}
        self._dirty = {index for index, entry in enumerate(entries) if entry.stale}
        self._measure(0)
        self._resize_content()
        self.refresh()

    def _redraw(self, indices: Iterable[int]) -> None:
        anchor = self._anchor()
        first_row: int | None = None
        first_index = len(self._entries)
        for index in indices:
            changed = self._draw(self._entries[index])
            if changed is not None:
                row = self._tops[index] + changed if index < len(self._tops) else self._tops[-1]
                first_row = row if first_row is None else min(first_row, row)
            first_index = min(first_index, index)
        self._settle(first_index, anchor)
        if first_row is not None:
            self._repaint_from(first_row)

    def _draw(self, entry: _Entry) -> int | None:
        """Draw one block. The first row that changed, or None when nothing did."""
        assert self._palette is not None
        before = entry.strips or []
        entry.strips = entry.block.render(self._width, self._palette)
        entry.height = len(entry.strips)
        entry.stale = False
        for row, (old, new) in enumerate(zip(before, entry.strips, strict=False)):
            if old is not new:
                return row
        return None if len(before) == entry.height and before else min(len(before), entry.height)

    def _measure(self, first: int) -> None:
        """Rows at which blocks begin, from block `first` on; the last number is the height of it all."""
        del self._tops[first + 1 :]
        top = self._tops[first] if first < len(self._tops) else self._tops[-1]
        for entry in self._entries[first:]:
            top += entry.height + GAP
            self._tops.append(top)

    def _resize_content(self) -> None:
        size = Size(self._width, self._tops[-1])
        if size != self.virtual_size:
            self._moving = True
            self.virtual_size = size
            self._scroll_update(size)
            self._moving = False

    def _anchor(self) -> tuple[Block, int] | None:
        """The block at the top of the view and how many of its rows are above."""
        row = self.scroll_offset.y
        index = bisect_right(self._tops, row) - 1
        if not 0 <= index < len(self._entries):
            return None
        return self._entries[index].block, row - self._tops[index]

    def _hold(self, block: Block, offset: int) -> None:
        """Keep what the person reads where it is when blocks above it change height."""
        index = self._index.get(block)
        if index is not None:
            row = self._tops[index] + min(offset, self._entries[index].height)
            self._scroll_without_notice(min(row, self.max_scroll_y))

    def _scroll_without_notice(self, y: int) -> None:
        if y != self.scroll_y:
            self._moving = True
            self.scroll_y = self.scroll_target_y = y
            self._moving = False

    def _settle(self, first: int, anchor: tuple[Block, int] | None) -> None:
        """Blocks from `first` on have new heights: measure, and keep the tail or the anchor in place."""
        self._measure(first)
        self._resize_content()
        if self.following:
            self._scroll_without_notice(self.max_scroll_y)
        elif anchor is not None:
            self._hold(*anchor)

    def _repaint_from(self, row: int) -> None:
        top = max(0, row - self.scroll_offset.y)
        height = self.size.height - top
        if height > 0:
            self.refresh(Region(0, top, self.size.width, height))

    def _row(self, row: int) -> Strip | None:
        index = bisect_right(self._tops, row) - 1
        if not 0 <= index < len(self._entries):
            return None
        entry = self._entries[index]
        if entry.strips is None and self._palette is not None and self._width:
            entry.strips = entry.block.render(self._width, self._palette)
        offset = row - self._tops[index]
        return entry.strips[offset] if entry.strips and offset < len(entry.strips) else None

    def _reflow(self) -> None:
        """The width or the colours changed: draw what is visible now and the rest in slices."""
        for entry in self._entries:
            entry.stale = True
            entry.strips = None
        self._dirty.clear()
        if not self._width or self._palette is None:
            return
        self._measure(0)
        self._redraw(self._visible_indices())
        self.refresh()
        if not self._reflowing:
            self._reflowing = True
            self.call_later(self._reflow_slice)

    def _visible_indices(self) -> list[int]:
        """The blocks in view, with a screen to spare on both sides."""
        if not self._entries:
            return []
        top, height = self.scroll_offset.y, self.size.height
        if self.following:
            top = max(0, self._tops[-1] - height)
        first = max(0, bisect_right(self._tops, top - height) - 1)
        last = min(len(self._entries), bisect_right(self._tops, top + 2 * height))
        return list(range(first, last))

    def _reflow_slice(self) -> None:
        deadline = perf_counter() + REFLOW_SLICE_SECONDS
        todo = [index for index, entry in enumerate(self._entries) if entry.stale]
        done: list[int] = []
        anchor = self._anchor()
        while todo and perf_counter() < deadline:
            index = todo.pop()
            self._draw(self._entries[index])
            done.append(index)
        if done:
            self._settle(min(done), anchor)
            self.refresh()
        self._dirty.difference_update(done)
        self._forget_far_strips()
        self._reflowing = bool(todo)
        if todo:
            self.call_later(self._reflow_slice)

    def _forget_far_strips(self) -> None:
        """Strips of blocks far from the view are dropped; they are drawn again when they come into view."""
        if len(self._entries) <= KEPT_BLOCKS:
            return
        kept = [index for index, entry in enumerate(self._entries) if entry.strips is not None]
        if len(kept) <= KEPT_BLOCKS:
            return
        near = bisect_right(self._tops, self.scroll_offset.y)
        for index in kept:
            if abs(index - near) > KEPT_BLOCKS // 3 and not self._entries[index].stale:
                self._entries[index].strips = None


def _mark(strip: Strip, span: tuple[int, int], style: Style) -> Strip:
    """`strip` with the characters of `span` in the selection's style; an end of -1 is the end of the row."""
    text = strip.text
    start, end = cell_len(text[: span[0]]), cell_len(text if span[1] == -1 else text[: span[1]])
    if start >= end:
        return strip
    marked = Segment.apply_style(strip.crop(start, end), post_style=style)
    return Strip.join([strip.crop(0, start), Strip(marked), strip.crop(end, strip.cell_length)])
