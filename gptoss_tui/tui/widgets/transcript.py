"""The conversation as one widget: blocks drawn as strips, of which only visible rows are painted.

A conversation of any length is a single node. `touch` collects changes, and `flush`, called by the frame clock, draws
them. The view follows the tail until the user scrolls up; then it stands still and says how many rows are new. Rows
are cached in the form in which they were sent to the terminal, so that repainting them is cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

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

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block, plural
from gptoss_tui.tui.flow import Flow
from gptoss_tui.tui.lines import Row
from gptoss_tui.tui.search import match_style

if TYPE_CHECKING:
    from gptoss_tui.tui.search import Search, Span
    from gptoss_tui.tui.theme import Palette

REFLOW_SLICE_SECONDS = 0.008
REFLOW_PAUSE_SECONDS = 0.03
"""After a resize, blocks out of view are drawn in slices that take at most about a fifth of the time."""

PAINTED_ROWS = 400

_NOTHING = Strip([])
"""The row between blocks."""


class Transcript(ScrollView, can_focus=False):
    """Blocks from top to bottom; the view follows the tail."""

    DEFAULT_CSS = """
    Transcript {
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        background: $background;
    }
    """

    virtual_size: Reactive[Size] = Reactive(Size(0, 0), layout=False, repaint=False)
    following: reactive[bool] = reactive(True, repaint=False)

    class BlockClicked(Message):
        """A block was clicked, on its row `row`."""

        def __init__(self, transcript: Transcript, block: Block, row: int) -> None:
            super().__init__()
            self.transcript = transcript
            self.block = block
            self.row = row

        @property
        def control(self) -> Transcript:
            """The view, for selectors in `on`."""
            return self.transcript

    class FollowingChanged(Message):
        """The view started or stopped following the tail."""

        def __init__(self, transcript: Transcript) -> None:
            super().__init__()
            self.transcript = transcript

        @property
        def control(self) -> Transcript:
            """The view, for selectors in `on`."""
            return self.transcript

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._flow = Flow()
        self._painted: dict[int, tuple[Strip, Strip]] = {}
        self._search: Search | None = None
        self._hit: tuple[Block, int] | None = None
        self._left_at: tuple[Block, int] | None = None
        self._moving = False
        self._reflowing = False

    # Contents

    @property
    def blocks(self) -> list[Block]:
        """The blocks, oldest first."""
        return [entry.block for entry in self._flow.entries]

    def has(self, block: Block) -> bool:
        """Whether the block is in this view."""
        return self._flow.index(block) is not None

    @property
    def drawn_rows(self) -> int:
        """How many rows are kept drawn; bounded, whatever the total height."""
        return self._flow.drawn_rows

    @property
    def is_settled(self) -> bool:
        """Whether everything has been redrawn since the width or the colours changed."""
        return not self._reflowing

    def add(self, block: Block, after: Block | None = None) -> None:
        """Add a block at the end, or after another one."""
        self._flow.insert(block, after)

    def touch(self, block: Block) -> None:
        """Mark a block as changed, to be drawn by the next flush."""
        self._flow.touch(block)

    def remove_block(self, *blocks: Block) -> None:
        """Remove blocks."""
        self._flow.remove(blocks)
        self._resize_content()
        self.refresh()

    def clear(self) -> None:
        """Remove all blocks."""
        self.remove_block(*self.blocks)
        self.following = True

    def set_palette(self, palette: Palette) -> None:
        """Redraw everything with another palette."""
        self._flow.palette = palette
        self._reflow(self._flow.width)

    def flush(self) -> None:
        """Draw the blocks that have changed."""
        flow = self._flow
        if not flow.dirty or not flow.ready:
            return
        dirty = (flow.index(block) for block in flow.dirty)
        self._redraw(sorted(index for index in dirty if index is not None))
        flow.forget(self._middle())

    # Scrolling

    def scroll_page(self, direction: int) -> None:
        """Scroll one page up (-1) or down (1)."""
        self.scroll_to(y=self.scroll_offset.y + direction * max(1, self.size.height - 2), animate=False)

    def to_tail(self) -> None:
        """Scroll to the end and follow it."""
        self.following = True
        self._scroll_without_notice(self.max_scroll_y)

    def show_block(self, block: Block, row: int = 0) -> None:
        """Scroll until row `row` of the block is well within view."""
        self.flush()
        index = self._flow.index(block)
        if index is None:
            return
        if self._flow.entries[index].stale:
            self._redraw([index])
        target = self._flow.top(index) + row
        top, height = self.scroll_offset.y, self.size.height
        if not top + 1 <= target < top + height - 2:
            self.scroll_to(y=max(0, target - height // 3), animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._moving:
            return
        self.following = new_value >= self.max_scroll_y
        self._draw_missing()

    def watch_following(self) -> None:
        last = self._flow.entries[-1] if self._flow.entries else None
        self._left_at = None if self.following or last is None else (last.block, last.height)
        self.post_message(self.FollowingChanged(self))

    def _size_updated(self, size: Size, virtual_size: Size, container_size: Size, layout: bool = True) -> bool:
        """Draw existing blocks in time for the first frame, which is painted before any resize event."""
        changed = super()._size_updated(size, virtual_size, container_size, layout)
        if not self._flow.width:
            self._reflow(self.scrollable_content_region.width)
        return changed

    def on_resize(self, event: events.Resize) -> None:
        width = self.scrollable_content_region.width
        if width != self._flow.width:
            self._reflow(width)
        elif self.following:
            self._scroll_without_notice(self.max_scroll_y)

    def on_click(self, event: events.Click) -> None:
        if self.screen.get_selected_text():
            return
        if self._unread() and event.y == self.size.height - 1:
            self.to_tail()
            return
        found = self._flow.at(event.y + self.scroll_offset.y)
        if found is not None:
            self.post_message(self.BlockClicked(self, self._flow.entries[found[0]].block, found[1]))

    # Search

    def mark(self, search: Search | None) -> None:
        """Mark the matches of `search` wherever they come into view; None removes the marks."""
        self._search, self._hit = search, None
        self.refresh()

    def show_hit(self, block: Block, number: int) -> None:
        """Go to match `number` (from 0) of the current search in a block, and mark it as the current one."""
        if self._search is None:
            return
        if block.reveal():
            self.touch(block)
        self.flush()
        index = self._flow.index(block)
        if index is None:
            return
        if self._flow.entries[index].stale:
            self._redraw([index])
        hits = self._search.hits(self._flow.rows_of(index))
        number = min(number, len(hits) - 1)
        self._hit = (block, number)
        self.show_block(block, hits[number][0].row if hits else 0)
        self.refresh()

    def versions(self) -> Iterator[tuple[Block, int]]:
        """The blocks, each with a number that grows whenever the block changes."""
        return ((entry.block, entry.version) for entry in self._flow.entries)

    def first_visible(self) -> int:
        """The index of the first visible block."""
        found = self._flow.at(self.scroll_offset.y)
        return found[0] if found else 0

    def is_below(self, block: Block, index: int) -> bool:
        """Whether a block is at `index` or below."""
        at = self._flow.index(block)
        return at is not None and at >= index

    # Painting

    def render_lines(self, crop: Region) -> list[Strip]:
        """The visible rows as sent to the terminal. Unchanged rows are the same objects as in earlier frames."""
        palette = self._flow.palette
        if palette is None or self.styles.gutter != (0, 0, 0, 0):
            return super().render_lines(crop)
        top, selection = self.scroll_offset.y, self.text_selection
        marks = self._marks(top + crop.y, top + crop.bottom)
        strips: list[Strip] = []
        for row in range(top + crop.y, top + crop.bottom):
            span = selection.get_span(row) if selection is not None else None
            strips.append(self._paint(row, palette, marks.get(row, ()), span))
        if crop.bottom == self.size.height and (unread := self._unread()):
            strips[-1] = self._with_note(strips[-1], f" ↓ {plural(unread, 'new row')} ", palette)
        if len(self._painted) > PAINTED_ROWS:
            self._painted.clear()
        if crop.x or crop.right < self.size.width:
            return [strip.crop(crop.x, crop.right) for strip in strips]
        return strips

    def render_line(self, y: int) -> Strip:
        """One visible row with the offsets of its characters, for the mouse."""
        row = y + self.scroll_offset.y
        strip = (self._row(row) or Strip([])).adjust_cell_length(self.size.width)
        if self._flow.palette is not None:
            strip = strip.apply_style(self._flow.palette.base)
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(row)) is not None:
            strip = lines.styled(strip, span, self.selection_style)
        return strip.apply_offsets(0, row)

    def _paint(
        self, row: int, palette: Palette, marks: Sequence[tuple[Span, Style]], selected: tuple[int, int] | None
    ) -> Strip:
        raw = self._row(row)
        if raw is None:
            raw = _NOTHING
        if (marks or selected is not None) and raw is not _NOTHING:
            strip = self._based(raw, palette)
            for found, style in marks:
                strip = lines.styled(strip, (found.start, found.end), style)
            return self._filtered(strip if selected is None else lines.styled(strip, selected, self.selection_style))
        known = self._painted.get(id(raw))
        if known is not None and known[0] is raw:
            return known[1]
        strip = self._filtered(self._based(raw, palette))
        self._painted[id(raw)] = (raw, strip)
        return strip

    def _based(self, raw: Strip, palette: Palette) -> Strip:
        """A row fitted to the width of the view, on the screen's background."""
        width = self.size.width
        fitted = Segment.adjust_line_length(list(raw), width, Style.null())
        return Strip(Segment.apply_style(fitted, palette.base), width)

    def _filtered(self, strip: Strip) -> Strip:
        """Apply the line filters, such as the one for no colours."""
        segments = list(strip)
        for line_filter in self.get_line_filters():
            segments = line_filter.apply(segments, self.background_colors[1])
        return Strip(segments, strip.cell_length)

    def _marks(self, first: int, last: int) -> dict[int, list[tuple[Span, Style]]]:
        """The matches between two rows, with their styles, by row."""
        palette = self._flow.palette
        if self._search is None or palette is None:
            return {}
        marks: dict[int, list[tuple[Span, Style]]] = {}
        for index in self._flow.between(first, last - 1):
            block, top = self._flow.entries[index].block, self._flow.top(index)
            for number, hit in enumerate(self._search.hits(self._flow.rows_of(index))):
                style = match_style(palette, now=self._hit == (block, number))
                for span in hit:
                    marks.setdefault(top + span.row, []).append((span, style))
        return marks

    def _unread(self) -> int:
        """How many rows were added below since the view stopped following."""
        if self._left_at is None:
            return 0
        block, height = self._left_at
        index = self._flow.index(block)
        return 0 if index is None else max(0, self._flow.height - block.gap - self._flow.top(index) - height)

    def _with_note(self, strip: Strip, note: str, palette: Palette) -> Strip:
        width, size = self.size.width, cell_len(note)
        start = (width - size) // 2
        if start < 1:
            return strip
        pill = Segment(note, Style(color=palette.base.bgcolor, bgcolor=palette.heading.color, bold=True))
        return self._filtered(Strip([*strip.crop(0, start), pill, *strip.crop(start + size, width)], width))

    # Selection

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text with its original lines: wrapped rows are joined, and decoration is left out."""
        total = self._flow.height
        start = selection.start.y if selection.start else 0
        end = selection.end.y if selection.end else total - 1
        first, last = max(0, start), min(total - 1, end)
        if first > last:
            return None
        pieces: list[str] = []
        for y in range(first, last + 1):
            row = self._row(y)
            text = row.text if row else ""
            begin = selection.start.x if selection.start is not None and y == start else 0
            stop = selection.end.x if selection.end is not None and y == end else len(text)
            lead, joint = (row.lead, row.joint) if isinstance(row, Row) else (0, None)
            pieces.append(text[max(begin, lead) : stop].rstrip())
            pieces.append("\n" if joint is None else joint)
        return "".join(pieces[:-1]), "\n"

    # Drawing

    def _redraw(self, indices: Iterable[int]) -> None:
        """Draw blocks, and repaint the visible part that changed: single rows, and everything that moved."""
        flow, anchor, unread = self._flow, self._anchor(), self._unread()
        rows: list[int] = []
        moved: int | None = None
        first_index = len(flow.entries)
        for index in indices:
            top, old_height = flow.top(index), flow.entries[index].height
            changed, moves = flow.draw(index)
            rows += [top + row for row in changed]
            if moves and moved is None:
                moved = top + min(old_height, flow.entries[index].height)
            first_index = min(first_index, index)
        before = self.scroll_offset.y
        shifted = self._settle(first_index, anchor)
        moved = min((row for row in (moved, shifted) if row is not None), default=None)
        if self.scroll_offset.y == before:  # otherwise everything is repainted anyway
            self._repaint(rows, moved)
        if unread != self._unread():
            self._repaint([self.scroll_offset.y + self.size.height - 1], None)

    def _repaint(self, rows: Iterable[int], moved: int | None) -> None:
        """Repaint single rows, and everything from row `moved` on."""
        top, height, width = self.scroll_offset.y, self.size.height, self.size.width
        regions = [Region(0, row - top, width, 1) for row in rows if top <= row < top + height]
        if moved is not None and moved < top + height:
            start = max(0, moved - top)
            regions = [region for region in regions if region.y < start] + [Region(0, start, width, height - start)]
        if regions:
            self.refresh(*regions)

    def _draw_missing(self) -> None:
        """Draw stale blocks that come into view now, without waiting for their slice."""
        stale = [index for index in self._visible() if self._flow.entries[index].stale]
        if stale and self._flow.ready:
            self._redraw(stale)

    def _settle(self, first: int, anchor: tuple[Block, int] | None) -> int | None:
        """Measure the new heights from block `first` on, keeping the tail or the anchor in place.

        Returns the first row at which a block moved; None when none did.
        """
        moved = self._flow.measure(first)
        self._resize_content()
        if self.following:
            self._scroll_without_notice(self.max_scroll_y)
        elif anchor is not None:
            self._hold(*anchor)
        return moved

    def _resize_content(self) -> None:
        size = Size(self._flow.width, self._flow.height)
        if size != self.virtual_size:
            self._moving = True
            self.virtual_size = size
            self._scroll_update(size)
            self._moving = False

    def _anchor(self) -> tuple[Block, int] | None:
        """The block at the top of the view, and how many of its rows are above."""
        found = self._flow.at(self.scroll_offset.y)
        return (self._flow.entries[found[0]].block, found[1]) if found else None

    def _hold(self, block: Block, offset: int) -> None:
        """Keep what the user is reading in place when blocks above it change their height."""
        index = self._flow.index(block)
        if index is not None:
            row = self._flow.top(index) + min(offset, self._flow.entries[index].height)
            self._scroll_without_notice(min(row, self.max_scroll_y))

    def _scroll_without_notice(self, y: int) -> None:
        if y != self.scroll_y:
            self._moving = True
            self.scroll_y = self.scroll_target_y = y
            self._moving = False

    def _row(self, row: int) -> Strip | None:
        return self._flow.row(row)

    def _middle(self) -> int:
        return self.scroll_offset.y + self.size.height // 2

    def _visible(self) -> range:
        """The blocks in view, with a margin of half a screen on both sides."""
        top, height = self.scroll_offset.y, self.size.height
        if self.following:
            top = max(0, self._flow.height - height)
        return self._flow.between(top - height // 2, top + height + height // 2)

    def _reflow(self, width: int) -> None:
        """Redraw after a change of the width or the colours: the visible blocks now, the rest in slices."""
        if width != self._flow.width and self.text_selection is not None:
            self.screen.clear_selection()  # it is stored as rows, which are different ones now
        anchor, unread = self._anchor(), self._unread()
        self._flow.restyle(width, self._flow.palette)
        self._painted.clear()
        if not self._flow.ready:
            return
        self._settle(0, anchor)
        self._draw_missing()
        if self._left_at is not None and not unread:  # update the height of the last block to the new width
            last = self._flow.entries[-1]
            self._left_at = (last.block, last.height)
        self.refresh()
        if not self._reflowing:
            self._reflowing = True
            self.call_later(self._reflow_slice)

    def _reflow_slice(self) -> None:
        flow, deadline = self._flow, perf_counter() + REFLOW_SLICE_SECONDS
        todo = [index for index, entry in enumerate(flow.entries) if entry.stale]
        first, anchor = len(flow.entries), self._anchor()
        while todo and perf_counter() < deadline:
            first = todo.pop()
            flow.draw(first)
        self._settle(first, anchor)
        flow.forget(self._middle())
        self._reflowing = bool(todo)
        if todo:
            self.set_timer(REFLOW_PAUSE_SECONDS, self._reflow_slice)
        else:
            self.refresh()
