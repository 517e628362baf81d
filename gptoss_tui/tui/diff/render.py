"""Draws a unified diff as strips, with line numbers, syntax colours and changed words, unified or side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.diff.parse import DiffRow, RowKind, parse_unified
from gptoss_tui.tui.diff.words import changed_words, pair_lines
from gptoss_tui.tui.highlight import highlight

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

Layout = Literal["unified", "split"]

MIN_SPLIT_WIDTH = 100
"""Two columns of code need this many cells; on less, `split` is drawn as `unified`."""
_MIN_CODE = 8
_LANGUAGES = {
    "h": "c",
    "hpp": "cpp",
    "cc": "cpp",
    "yml": "yaml",
    "kt": "kotlin",
    "mjs": "js",
    "cs": "csharp",
    "tf": "hcl",
}


@dataclass(frozen=True, slots=True)
class RenderedDiff:
    """The strips of a diff, and the row and path at which each of its files begins."""

    strips: list[Strip]
    files: tuple[tuple[int, str], ...]


def render_diff(diff: str, width: int, palette: Palette, root: str = "") -> list[Strip]:
    """Draw `diff` in the unified layout, as rows of `width` cells. Paths are shown relative to `root` if given."""
    return draw_diff(diff, width, palette, root).strips


def draw_diff(
    diff: str,
    width: int,
    palette: Palette,
    root: str = "",
    *,
    layout: Layout = "unified",
    left_out: frozenset[str] = frozenset(),
) -> RenderedDiff:
    """Like `render_diff`, in either layout. The files in `left_out` are marked as such, and only their names shown."""
    parsed = parse_unified(diff, root)
    digits = max((len(str(n)) for row in parsed for n in (row.old, row.new) if n), default=1)
    drawer = both = _Drawer(width, palette, digits, layout == "split" and width >= MIN_SPLIT_WIDTH)
    strips: list[Strip] = []
    files: list[tuple[int, str]] = []
    language = ""
    skipping = False
    blocks = list(_blocks(parsed))
    for number, block in enumerate(blocks):
        head = block[0]
        if head.kind == "file":
            drawer = replace(both, split=False, alone=True) if _has_one_side(blocks[number + 1 :]) else both
            files.append((len(strips), head.path))
            language, skipping = _language(head.path), head.path in left_out
            strips += drawer.file(head, skipping)
        elif not skipping:
            strips += drawer.hunk(block, language)
    return RenderedDiff(strips, tuple(files))


def _blocks(rows: Sequence[DiffRow]) -> Iterator[list[DiffRow]]:
    """Group rows: a file row alone, a hunk's header with all its lines, a note alone."""
    block: list[DiffRow] = []
    for row in rows:
        if block and (row.kind in ("file", "hunk") or block[0].kind == "file"):
            yield block
            block = []
        block.append(row)
    if block:
        yield block


def _has_one_side(blocks: Sequence[Sequence[DiffRow]]) -> bool:
    """Whether the first file in these blocks has only added or only removed lines, without context."""
    kinds: set[RowKind] = set()
    for block in blocks:
        if block[0].kind == "file":
            break
        kinds.update(row.kind for row in block)
    return "context" not in kinds and len(kinds & {"added", "removed"}) == 1


@dataclass(frozen=True, slots=True)
class _Drawer:
    """Draws rows. `alone` means that the file has only one side, so the other side needs no numbers and no column."""

    width: int
    palette: Palette
    digits: int
    split: bool
    alone: bool = False

    def file(self, row: DiffRow, left_out: bool) -> list[Strip]:
        title = lines.text(row.text, self.palette.muted if left_out else self.palette.strong)
        if left_out:
            title.append("  left out", self.palette.warning)
        return lines.rows(lines.wrap(title, self.width - 1), self.width, prefix=[Segment(" ")], base=self.palette.panel)

    def hunk(self, rows: Sequence[DiffRow], language: str) -> list[Strip]:
        inks = _Inks(rows, language, self.palette)
        strips: list[Strip] = []
        at = 0
        while at < len(rows):
            row = rows[at]
            stop = at + 1
            if row.kind in ("removed", "added"):
                while stop < len(rows) and rows[stop].kind in ("removed", "added"):
                    stop += 1
                strips += self._changed(rows[at:stop], inks)
            elif row.kind == "context":
                strips += self._both(row, inks) if self.split else self._line(row, inks.of(row))
            elif row.kind == "hunk":
                strips += self._hunk_head(row)
            else:
                strips += self._note(row)
            at = stop
        return strips

    def _hunk_head(self, row: DiffRow) -> list[Strip]:
        if not row.text and max(row.old or 0, row.new or 0) <= 1:
            return []  # the hunk begins at the top of the file
        pad = " " * (self.digits + 1 if self.split else 2 * self.digits + 2)
        return [lines.strip(lines.text(f"{pad}⋯ {row.text}".rstrip(), self.palette.faint), self.width)]

    def _note(self, row: DiffRow) -> list[Strip]:
        folded = lines.fold(lines.text(row.text, self.palette.muted), self.width - 1)
        return lines.rows(folded, self.width, prefix=[Segment(" ")])

    def _changed(self, rows: Sequence[DiffRow], inks: _Inks) -> list[Strip]:
        """Draw removed and added lines, marking the words in which paired lines differ."""
        removed = [row for row in rows if row.kind == "removed"]
        added = [row for row in rows if row.kind == "added"]
        pairs = pair_lines([row.text for row in removed], [row.text for row in added])
        marked: dict[int, Text] = {}
        for old, new in pairs:
            if old is not None and new is not None:
                went, came = changed_words(removed[old].text, added[new].text)
                marked[id(removed[old])] = _mark(inks.of(removed[old]), went, self.palette.removed_word)
                marked[id(added[new])] = _mark(inks.of(added[new]), came, self.palette.added_word)
        if not self.split:
            return [s for row in rows for s in self._line(row, marked.get(id(row)) or inks.of(row))]
        strips: list[Strip] = []
        for old, new in pairs:
            left = removed[old] if old is not None else None
            right = added[new] if new is not None else None
            halves = [(row, marked.get(id(row)) or inks.of(row)) if row else None for row in (left, right)]
            strips += self._beside(halves[0], halves[1])
        return strips

    def _line(self, row: DiffRow, text: Text) -> list[Strip]:
        numbers = " ".join(
            f"{n if n is not None else '':>{self.digits}}"
            for n in (row.old, row.new)
            if n is not None or not self.alone
        )
        return self._code(row, text, f"{numbers} ", self.width)

    def _both(self, row: DiffRow, inks: _Inks) -> list[Strip]:
        return self._beside((row, inks.of(row)), (row, inks.of(row)))

    def _beside(self, left: tuple[DiffRow, Text] | None, right: tuple[DiffRow, Text] | None) -> list[Strip]:
        half = (self.width - 1) // 2
        sides = []
        for side, width, number in ((left, half, "old"), (right, self.width - 1 - half, "new")):
            rows: list[Strip] = []
            if side is not None:
                shown = getattr(side[0], number)
                rows = self._code(*side, f"{shown if shown is not None else '':>{self.digits}} ", width)
            sides.append((rows, width))
        height = max(len(rows) for rows, _ in sides)
        columns = [[*rows, *[lines.blank(width)] * (height - len(rows))] for rows, width in sides]
        bar = Segment("│", self.palette.faint)
        return [Strip([*one, bar, *other]) for one, other in zip(*columns, strict=True)]

    def _code(self, row: DiffRow, text: Text, numbers: str, width: int) -> list[Strip]:
        sign, mark, base = self._signs(row)
        gutter = [Segment(numbers, self.palette.faint), Segment(f"{sign} ", mark)]
        taken = sum(segment.cell_length for segment in gutter)
        pieces = lines.fold(text, max(_MIN_CODE, width - taken))
        first = lines.strip(pieces[0], width, prefix=gutter, base=base)
        return [first, *lines.rows(pieces[1:], width, prefix=[Segment(" " * taken)], base=base)]

    def _signs(self, row: DiffRow) -> tuple[str, Style, Style | None]:
        if row.kind == "added":
            return "+", self.palette.added_text, self.palette.added
        if row.kind == "removed":
            return "-", self.palette.removed_text, self.palette.removed
        return " ", self.palette.muted, None


class _Inks:
    """The syntax-highlighted lines of a hunk. Each side is highlighted as code of its own."""

    def __init__(self, rows: Sequence[DiffRow], language: str, palette: Palette) -> None:
        self._palette = palette
        self._found: dict[int, Text] = {}
        for kinds in (("context", "removed"), ("context", "added")):
            side = [row for row in rows if row.kind in kinds]
            for row, text in zip(side, _coloured([row.text for row in side], language, palette), strict=True):
                one_colour = {"added": palette.added_line, "removed": palette.removed_line}.get(row.kind)
                self._found[id(row)] = text if one_colour is None else lines.text(row.text, one_colour)

    def of(self, row: DiffRow) -> Text:
        """The highlighted line of `row`; its characters are never altered."""
        return self._found[id(row)]


def _coloured(source: Sequence[str], language: str, palette: Palette) -> list[Text]:
    coloured = highlight("\n".join(source), language, palette) if language and source else []
    plain = [lines.text(line, palette.text) for line in source]
    if len(coloured) != len(plain):
        return plain
    return [text if text.plain == line.plain else line for text, line in zip(coloured, plain, strict=True)]


def _mark(text: Text, spans: Sequence[tuple[int, int]], style: Style) -> Text:
    marked = text.copy()
    for start, stop in spans:
        marked.stylize(style, start, stop)
    return marked


def _language(path: str) -> str:
    name = path.rpartition("/")[2]
    ending = (
        name.rpartition(".")[2].lower() if "." in name else {"Makefile": "make", "Dockerfile": "docker"}.get(name, "")
    )
    return _LANGUAGES.get(ending, ending)
