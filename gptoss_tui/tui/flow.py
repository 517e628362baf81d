"""The vertical layout of blocks: their drawn rows, their heights, and which rows may be dropped. No widget in here.

Only blocks near the view keep their rows, so memory does not grow with the conversation. A block far from the view
keeps just its height and is drawn again when it comes into view.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.strip import Strip

if TYPE_CHECKING:
    from gptoss_tui.tui.blocks.base import Block
    from gptoss_tui.tui.theme import Palette

KEPT_ROWS = 1000
"""How many rows may stay drawn; those nearest to the view are kept."""


@dataclass(slots=True, eq=False)
class Entry:
    """A block and its drawn rows. `height` outlives `rows`; while `stale` is set, it is only an estimate."""

    block: Block
    height: int = 1
    rows: list[Strip] | None = None
    stale: bool = True
    version: int = 0


class Flow:
    """The blocks and the row at which each begins, for one width and one palette."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.dirty: set[Block] = set()
        self.width = 0
        self.palette: Palette | None = None
        self._index: dict[Block, int] = {}
        self._tops: list[int] = [0]
        self._drawn: dict[Entry, None] = {}
        self._drawn_rows = 0

    @property
    def ready(self) -> bool:
        """Whether width and colours are known."""
        return self.width > 0 and self.palette is not None

    @property
    def height(self) -> int:
        """The total number of rows."""
        return self._tops[-1]

    @property
    def drawn_rows(self) -> int:
        """How many rows are kept drawn."""
        return self._drawn_rows

    def index(self, block: Block) -> int | None:
        """The position of a block among the entries; None if it is not here."""
        return self._index.get(block)

    def top(self, index: int) -> int:
        """The row at which block `index` begins."""
        return self._tops[index] if index < len(self._tops) else self._tops[-1]

    def at(self, row: int) -> tuple[int, int] | None:
        """The index of the block on `row` and the row within it. A newly inserted block has no rows until `measure`."""
        index = bisect_right(self._tops, row) - 1
        return (index, row - self._tops[index]) if 0 <= row < self.height else None

    def between(self, first_row: int, last_row: int) -> range:
        """The indices of the blocks on these rows."""
        if not self.entries:
            return range(0)
        first = max(0, bisect_right(self._tops, first_row) - 1)
        return range(first, min(len(self.entries), bisect_right(self._tops, max(first_row, last_row))))

    def insert(self, block: Block, after: Block | None = None) -> None:
        """Insert a block after another one, or at the end."""
        at = self._index[after] + 1 if after is not None else len(self.entries)
        self.entries.insert(at, Entry(block))
        for index in range(at, len(self.entries)):
            self._index[self.entries[index].block] = index
        self.dirty.add(block)
        if at < len(self.entries) - 1:
            self.measure(at)

    def touch(self, block: Block) -> None:
        """Mark a block as changed."""
        index = self._index.get(block)
        if index is not None:
            entry = self.entries[index]
            entry.stale, entry.version = True, entry.version + 1
            self.dirty.add(block)

    def remove(self, blocks: Iterable[Block]) -> None:
        """Remove blocks."""
        gone = set(blocks)
        for entry in self.entries:
            if entry.block in gone:
                self._release(entry)
        self.entries = [entry for entry in self.entries if entry.block not in gone]
        self._index = {entry.block: index for index, entry in enumerate(self.entries)}
        self.dirty -= gone
        self.measure(0)

    def restyle(self, width: int, palette: Palette | None) -> None:
        """Set a new width or palette. Everything must be redrawn; heights are estimated from the old ones."""
        scale = self.width / width if width and self.width else 1.0
        self.width, self.palette = width, palette
        for entry in self.entries:
            self._release(entry)
            entry.stale = True
            if scale != 1.0:
                entry.height = max(1, round(entry.height * scale))
        self.dirty.clear()
        self.measure(0)

    def draw(self, index: int) -> tuple[list[int], bool]:
        """Draw one block. Returns its changed rows and whether blocks below move; `measure` applies the new height."""
        assert self.palette is not None
        entry = self.entries[index]
        before, moves = entry.rows or [], entry.rows is None
        height = entry.height
        rows = entry.block.render(self.width, self.palette)
        self._drawn_rows += len(rows) - len(before)
        self._drawn[entry] = None
        entry.rows, entry.height, entry.stale = rows, len(rows), False
        self.dirty.discard(entry.block)
        changed = [row for row, (old, new) in enumerate(zip(before, rows, strict=False)) if old is not new]
        changed += range(len(before), len(rows))
        return changed, moves or len(rows) != height

    def measure(self, first: int) -> int | None:
        """Recompute where blocks begin, from the one above block `first` on.

        Returns the first row at which a block moved; None when none did.
        """
        tops = self._tops
        first = max(0, min(first, len(tops) - 1) - 1)
        before = tops[first + 1 :]
        del tops[first + 1 :]
        top = tops[first]
        for index in range(first, len(self.entries)):
            top += self.entries[index].height + self._gap(index)
            tops.append(top)
        moved = (min(old, new) for old, new in zip(before, tops[first + 1 :], strict=False) if old != new)
        return next(moved, None)

    def _gap(self, index: int) -> int:
        """The number of empty rows below a block."""
        block = self.entries[index].block
        if index + 1 < len(self.entries):
            following = self.entries[index + 1].block
            if (block.is_row and following.is_step) or (block.series and block.series == following.series):
                return 0
        return block.gap

    def rows_of(self, index: int) -> Sequence[Strip]:
        """The rows of a block, drawn first if it has none; stale rows are returned as they are, `draw` renews them."""
        entry = self.entries[index]
        if entry.rows is None and self.ready:
            waits = entry.block in self.dirty
            self.draw(index)
            if waits:  # keep it dirty for the next flush, which applies its new height
                self.dirty.add(entry.block)
        return entry.rows or ()

    def row(self, y: int) -> Strip | None:
        """The strip on row `y`; None between blocks."""
        found = self.at(y)
        if found is None:
            return None
        rows = self.rows_of(found[0])
        return rows[found[1]] if found[1] < len(rows) else None

    def forget(self, near: int) -> None:
        """Once more than KEPT_ROWS rows are drawn, drop those farthest from row `near`, down to half as many."""
        if self._drawn_rows <= KEPT_ROWS:
            return
        here = bisect_right(self._tops, near) - 1
        far_first = sorted(self._drawn, key=lambda entry: -abs(self._index[entry.block] - here))
        for entry in far_first:
            if self._drawn_rows <= KEPT_ROWS // 2 or abs(self._index[entry.block] - here) < 2:
                break
            if not entry.stale and not entry.block.live:
                self._release(entry)
                entry.block.forget()

    def _release(self, entry: Entry) -> None:
        if entry.rows is not None:
            self._drawn_rows -= len(entry.rows)
            entry.rows = None
        self._drawn.pop(entry, None)
