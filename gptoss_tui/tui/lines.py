"""From text to the strips that line-drawn widgets show: wrapping, padding, gutters. Pure, no widget in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

TAB_SIZE = 4

_console = Console(width=80, color_system="truecolor", force_terminal=True, legacy_windows=False)


def text(content: str, style: Style) -> Text:
    """Plain text in one style; never parsed as markup."""
    return Text(content, style=style, tab_size=TAB_SIZE, end="")


def wrap(content: Text, width: int) -> list[Text]:
    """The lines of `content` at `width` cells; words too long for a line are folded."""
    return list(content.wrap(_console, max(1, width), overflow="fold", tab_size=TAB_SIZE))


def paragraphs(content: str, width: int, style: Style) -> list[Text]:
    """`content` wrapped line by line: newlines stay where they are."""
    return [row for line in content.split("\n") for row in wrap(text(line, style), width)]


def fold(line: Text, width: int) -> list[Text]:
    """One source line cut hard at `width` cells, spaces kept: for code, diffs and output."""
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
    return list(line.divide(cuts))


def strip(line: Text, width: int, *, prefix: Sequence[Segment] = (), base: Style | None = None) -> Strip:
    """One row: `prefix`, then `line`, padded or cropped to `width` cells on the background `base`."""
    segments = [*prefix, *_segments(line)]
    if base is not None:
        segments = list(Segment.apply_style(segments, base))
    return Strip(segments).adjust_cell_length(width, base or Style.null())


def _segments(line: Text) -> Iterable[Segment]:
    """Rich leaves the style of a text out when no part of it has a style of its own."""
    if not line.spans:
        return [Segment(line.plain, _console.get_style(line.style))] if line.plain else []
    return (segment for segment in line.render(_console) if segment.text)


def blank(width: int, base: Style | None = None) -> Strip:
    """An empty row."""
    return Strip.blank(width, base)


def rows(
    lines: Iterable[Text], width: int, *, prefix: Sequence[Segment] = (), base: Style | None = None
) -> list[Strip]:
    """`strip` for several lines."""
    return [strip(line, width, prefix=prefix, base=base) for line in lines]


def spread(left: Text, right: Text, width: int) -> Text:
    """`left` at the start and `right` at the end of a row; `left` gives way when both do not fit."""
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


def shift(strips: Sequence[Strip], margin: int, width: int) -> list[Strip]:
    """The rows moved `margin` cells to the right, `width` cells in all."""
    space = Segment(" " * margin)
    return [Strip([space, *row]).adjust_cell_length(width) for row in strips]
