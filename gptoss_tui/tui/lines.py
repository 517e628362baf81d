"""From text to strips for line-drawn widgets: wrapping, padding, gutters. Pure functions, no widget in here.

When a wrapped `Text` continues in the next row, its `end` holds what belongs between the two: the spaces at which the
line was wrapped, or `FOLDED` where a word was cut. `Row` keeps this information, so that copied text has the original
lines and not those of the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

TAB_SIZE = 4
FOLDED = "\u2060"
"""The `end` of a row that was cut inside a word. Text made safe for the terminal never contains this character."""

_console = Console(width=80, color_system="truecolor", force_terminal=True, legacy_windows=False)


class _NoCache:
    """A cache that stores nothing. A strip has seven caches, which cost most of its memory and of a collection."""

    def get(self, key: object, default: object = None) -> object:
        return default

    def __setitem__(self, key: object, value: object) -> None:
        pass


_NO_CACHE = _NoCache()
_CACHES = [slot for slot in Strip.__slots__ if slot.endswith("_cache") and slot != "_render_cache"]


class Row(Strip):
    """A strip that knows its text. The first `lead` characters are decoration. `joint` is what belongs between this row
    and the next one if the line continues there, else None. Rows are made to be kept, not to be painted.
    """

    __slots__ = ("joint", "lead")

    def __init__(
        self, segments: Iterable[Segment], cell_length: int | None = None, *, lead: int = 0, joint: str | None = None
    ) -> None:
        self._segments = list(segments)
        self._cell_length = cell_length
        self._render_cache = self._link_ids = self._cell_count = None
        for cache in _CACHES:
            setattr(self, cache, _NO_CACHE)
        self.lead = lead
        self.joint = joint


def text(content: str, style: Style) -> Text:
    """Plain text in one style; markup is never parsed."""
    return Text(content, style=style, tab_size=TAB_SIZE, end="")


def wrap(content: Text, width: int) -> list[Text]:
    """Wrap `content` into lines of at most `width` cells; words longer than a line are cut."""
    wrapped: list[Text] = []
    for line in content.split("\n", allow_blank=True) if "\n" in content.plain else [content]:
        rows = list(line.wrap(_console, max(1, width), overflow="fold", tab_size=TAB_SIZE))
        _join(rows, line)
        wrapped += rows
    return wrapped


def _join(rows: Sequence[Text], line: Text) -> None:
    """Set the `end` of each row that `line` was wrapped into to what stands between it and the next row."""
    plain, at = line.plain, 0
    if "\t" in plain:
        plain = plain.expandtabs(TAB_SIZE)
    for row, following in pairwise(rows):
        kept = row.plain.rstrip()
        at += len(kept)
        spaces = len(plain) - at - len(plain[at:].lstrip()) - (len(following.plain) - len(following.plain.lstrip()))
        row.end = plain[at : at + spaces] or FOLDED
        at += spaces


def paragraphs(content: str, width: int, style: Style) -> list[Text]:
    """`content` wrapped line by line; its newlines are kept."""
    return [row for line in content.split("\n") for row in wrap(text(line, style), width)]


def fold(line: Text, width: int) -> list[Text]:
    """Cut one source line hard at `width` cells, keeping its spaces: for code, diffs and output."""
    if "\t" in line.plain:
        line = line.copy()
        line.expand_tabs(TAB_SIZE)
    if line.cell_len <= width:
        return [line]
    cuts = []
    used = 0
    for index, character in enumerate(line.plain):
        size = cell_len(character)
        if used + size > width:
            cuts.append(index)
            used = 0
        used += size
    pieces = list(line.divide(cuts))
    for piece in pieces[:-1]:
        piece.end = FOLDED
    return pieces


def strip(line: Text, width: int, *, prefix: Sequence[Segment] = (), base: Style | None = None) -> Row:
    """Return one row: `prefix`, then `line`, padded or cropped to `width` cells on the background `base`."""
    segments = [*prefix, *_segments(line)]
    if base is not None:
        segments = list(Segment.apply_style(segments, base))
    joint = {"": None, "\n": None, FOLDED: ""}.get(line.end, line.end)
    return _row(segments, width, sum(len(segment.text) for segment in prefix), joint, base)


def beside(prefix: Sequence[Segment], row: Strip, width: int, *, copied: bool = False) -> Row:
    """Put `prefix` before `row`, `width` cells in all. The prefix counts as decoration unless it is `copied` too."""
    lead, joint = (row.lead, row.joint) if isinstance(row, Row) else (0, None)
    lead = 0 if copied else lead + sum(len(segment.text) for segment in prefix)
    return _row([*prefix, *row], width, lead, joint)


def _row(segments: Sequence[Segment], width: int, lead: int, joint: str | None, base: Style | None = None) -> Row:
    fitted = Segment.adjust_line_length(list(segments), width, base or Style.null())
    return Row(fitted, width, lead=lead, joint=joint)


def _segments(line: Text) -> Iterable[Segment]:
    """The segments of a line. Rich drops the style of a text in which no span has a style, so it is added here."""
    if not line.spans:
        return [Segment(line.plain, _console.get_style(line.style))] if line.plain else []
    return (segment for segment in line.render(_console) if segment.text)


def blank(width: int, base: Style | None = None) -> Row:
    """An empty row."""
    return Row([Segment(" " * width, base or Style.null())], width)


def rows(
    lines: Iterable[Text], width: int, *, prefix: Sequence[Segment] = (), base: Style | None = None
) -> list[Strip]:
    """`strip` for several lines."""
    return [strip(line, width, prefix=prefix, base=base) for line in lines]


def spread(left: Text, right: Text, width: int) -> Text:
    """`left` at the start and `right` at the end of one row; `left` is truncated when both do not fit."""
    room = width - right.cell_len - 1
    if room < 1:
        line = left.copy()
        line.truncate(width, overflow="ellipsis")
        return line
    line = left.copy()
    line.truncate(room, overflow="ellipsis")
    line.append(" " * (width - line.cell_len - right.cell_len))
    line.append_text(right)
    return line


def shift(strips: Iterable[Strip], margin: int, width: int) -> list[Strip]:
    """Indent rows by `margin` cells, `width` cells in all."""
    space = Segment(" " * margin)
    return [beside([space], row, width) for row in strips]


def styled(strip: Strip, span: tuple[int, int], style: Style) -> Strip:
    """`strip` with `style` applied to the characters of `span`; an end of -1 means the end of the row."""
    text = strip.text
    start, end = cell_len(text[: span[0]]), cell_len(text if span[1] == -1 else text[: span[1]])
    if start >= end:
        return strip
    marked = Segment.apply_style(strip.crop(start, end), post_style=style)
    return Strip.join([strip.crop(0, start), Strip(marked), strip.crop(end, strip.cell_length)])
