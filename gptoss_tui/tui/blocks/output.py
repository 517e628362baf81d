"""What a collapsed card shows of an output: its first and last rows, and how many lines are hidden between them."""

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
"""The lines that `tools/formats.py` adds around what was read."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How many rows are shown of the beginning and of the end."""

    head: int
    tail: int


FIRST = Ends(4, 0)
"""For files and lists: the interesting part is at the top."""
LOG = Ends(2, 6)
"""For programs: the result is at the bottom."""
OWN_LOG = Ends(6, 18)
"""For commands that the user ran to see their output."""


FAILURE = Ends(6, 6)
"""For messages that say why a call failed."""


def ends_for(tool: str, state: str) -> Ends:
    """Which ends of the output of `tool` to show; of a running tool, only the current end."""
    if state == "running":
        return Ends(0, LOG.head + LOG.tail)
    if state == "error" and tool != "!":
        return FAILURE
    return {"shell": LOG, "python": LOG, "!": OWN_LOG}.get(tool, FIRST)


def draw_ends(text: str, ends: Ends, width: int, style: Style, note: Style) -> list[Strip]:
    """The ends of `text` as rows of `width` cells; all of it if at most one row would be hidden.

    However long the lines are, only their visible parts are processed.
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
    """How much of a file, list or page was read: `300 lines`, `lines 1-40 of 300`, `no matches`."""
    rows = text.strip("\n").split("\n")
    if part := _PART.fullmatch(rows[0]):
        begin, end, total = map(int, part.groups())
        return plural(total, "line") if (begin, end) == (1, total) else f"lines {begin}-{end} of {total}"
    if len(rows) == 1 and (nothing := _NOTHING.fullmatch(rows[0])):
        return nothing[1]
    more = _MORE.fullmatch(rows[-1])
    return plural(len(rows) - 1 + int(more[1]) if more else len(rows), "line")


def fold(source: Sequence[str], width: int, style: Style) -> list[Strip]:
    """Cut lines hard at `width` cells."""
    return lines.rows([row for line in source for row in lines.fold(lines.text(line, style), width)], width)
