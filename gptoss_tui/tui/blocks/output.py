"""What a closed card shows of an output: the first rows, the last ones, and how much is between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import plural

_PART = re.compile(r"\[.*: lines (\d+)-(\d+) of (\d+)\]")
_MORE = re.compile(r"\[(\d+) more not shown\]")
_NOTHING = re.compile(r"\[(?:.*: )?(no [a-z]+|empty file)\]")
"""What `tools/formats.py` writes around what was read."""


@dataclass(frozen=True, slots=True)
class Ends:
    """So many rows of the beginning and of the end."""

    head: int
    tail: int


FIRST = Ends(4, 0)
"""Of files and lists: what was asked for begins at the top."""
LOG = Ends(2, 6)
"""Of programs: what came of it stands at the bottom."""
OWN_LOG = Ends(6, 18)
"""Of what the person ran to see it."""


FAILURE = Ends(6, 6)
"""Of what says why a call failed."""


def ends_for(tool: str, state: str) -> Ends:
    """Which ends matter of the output of `tool`; of a running one, where it is now."""
    if state == "running":
        return Ends(0, LOG.head + LOG.tail)
    if state == "error" and tool != "!":
        return FAILURE
    return {"shell": LOG, "python": LOG, "!": OWN_LOG}.get(tool, FIRST)


def draw_ends(text: str, ends: Ends, width: int, style: Style, note: Style) -> list[Strip]:
    """The ends of `text` in rows of `width` cells, all of it where no more than one row would be left out.

    However long lines are, only what can be seen of them is looked at.
    """
    limit = ends.head + ends.tail
    source = text.split("\n")
    if len(source) <= limit + 1 and len(text) <= width * (limit + 1):
        rows = fold(source, width, style)
        if len(rows) <= limit + 1:
            return rows
    head = fold([line[: width * ends.head] for line in source[: ends.head]], width, style)[: ends.head]
    tail: list[Strip] = []
    if ends.tail:
        after = source[max(len(head), len(source) - ends.tail) :] or source[-1:]
        tail = fold([line[-width * ends.tail :] for line in after], width, style)[-ends.tail :]
    hidden = plural(max(1, len(source) - limit), "more line")
    return [*head, lines.strip(lines.text(f"… {hidden} (Ctrl+O opens)", note), width), *tail]


def extent(text: str) -> str:
    """How much of a file, a list or a page was read: `300 lines`, `lines 1-40 of 300`, `no matches`."""
    rows = text.strip("\n").split("\n")
    if part := _PART.fullmatch(rows[0]):
        begin, end, total = map(int, part.groups())
        return plural(total, "line") if (begin, end) == (1, total) else f"lines {begin}-{end} of {total}"
    if len(rows) == 1 and (nothing := _NOTHING.fullmatch(rows[0])):
        return nothing[1]
    more = _MORE.fullmatch(rows[-1])
    return plural(len(rows) - 1 + int(more[1]) if more else len(rows), "line")


def fold(source: Sequence[str], width: int, style: Style) -> list[Strip]:
    """Lines cut hard at `width` cells."""
    return lines.rows([row for line in source for row in lines.fold(lines.text(line, style), width)], width)
