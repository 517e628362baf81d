"""Finding text in what was said: in the text of blocks for counting, in their rows for marking. No widget in it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style
from textual.strip import Strip

from gptoss_tui.tui.lines import Row

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

_KNOWN = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of row `row` of a block."""

    row: int
    start: int
    end: int


Hit = tuple[Span, ...]
"""A match: more than one span where it goes on in the next row."""


class Search:
    """Looks for words as typed; spaces stand for any white space. A capital letter makes it mind the case."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        flags = 0 if any(character.isupper() for character in wanted) else re.IGNORECASE
        words = [re.escape(word) for word in wanted.split()]
        self._pattern = re.compile(r"\s+".join(words), flags) if words else None
        self._known: dict[int, tuple[Sequence[Strip], list[Hit]]] = {}

    def count(self, text: str) -> int:
        """How often it stands in a text."""
        return sum(1 for _ in self._pattern.finditer(text)) if self._pattern else 0

    def hits(self, rows: Sequence[Strip]) -> list[Hit]:
        """Where it stands in the rows of a block, which are not changed in place."""
        known = self._known.get(id(rows))
        if known is not None and known[0] is rows:
            return known[1]
        if len(self._known) >= _KNOWN:
            self._known.clear()
        hits = self._find(rows)
        self._known[id(rows)] = (rows, hits)
        return hits

    def _find(self, rows: Sequence[Strip]) -> list[Hit]:
        if self._pattern is None:
            return []
        text, starts, leads = _lines_of(rows)
        hits: list[Hit] = []
        for match in self._pattern.finditer(text):
            first = bisect_right(starts, match.start()) - 1
            last = bisect_right(starts, match.end() - 1) - 1
            spans: list[Span] = []
            for row in range(first, last + 1):
                start = max(match.start(), starts[row]) - starts[row] + leads[row]
                end = match.end() - starts[row] + leads[row]
                spans.append(Span(row, start, min(end, leads[row] + _length(rows[row], leads[row]))))
            hits.append(tuple(span for span in spans if span.start < span.end))
        return [hit for hit in hits if hit]


def _lines_of(rows: Sequence[Strip]) -> tuple[str, list[int], list[int]]:
    """The text of rows with wrapped lines joined, where each row begins in it, and how much decoration each has."""
    pieces: list[str] = []
    starts: list[int] = []
    leads: list[int] = []
    at = 0
    for row in rows:
        lead, joint = (row.lead, row.joint) if isinstance(row, Row) else (0, None)
        piece = row.text[lead:].rstrip() + ("\n" if joint is None else joint)
        pieces.append(piece)
        starts.append(at)
        leads.append(lead)
        at += len(piece)
    return "".join(pieces), starts, leads


def _length(row: Strip, lead: int) -> int:
    """Characters of a row without its decoration and what pads it."""
    return len(row.text[lead:].rstrip())


def match_style(palette: Palette, *, now: bool) -> Style:
    """A match is underlined, so that it is seen without colours; the one that was gone to stands out."""
    if now:
        return Style(color=palette.base.bgcolor, bgcolor=palette.accent.color, bold=True, underline=True)
    return palette.panel + Style(color=palette.accent.color, underline=True)
