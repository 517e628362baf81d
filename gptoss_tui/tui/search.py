"""Text search in the transcript: in the text of blocks to count matches, in their rows to mark them. No widget here."""

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
    """The characters from `start` to `end` in row `row` of a block."""

    row: int
    start: int
    end: int


Hit = tuple[Span, ...]
"""A match; it has several spans when it continues in the next row."""


class Search:
    """Searches for words as typed; a space matches any white space. A capital letter makes it case-sensitive."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        flags = 0 if any(character.isupper() for character in wanted) else re.IGNORECASE
        words = [re.escape(word) for word in wanted.split()]
        self._pattern = re.compile(r"\s+".join(words), flags) if words else None
        self._known: dict[int, tuple[Sequence[Strip], list[Hit]]] = {}

    def count(self, text: str) -> int:
        """The number of matches in a text."""
        return sum(1 for _ in self._pattern.finditer(text)) if self._pattern else 0

    def hits(self, rows: Sequence[Strip]) -> list[Hit]:
        """The matches in the rows of a block. Results are cached, so `rows` must not be changed in place."""
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
    """The text of `rows` with wrapped lines joined, the offset at which each row begins, and the width of its lead."""
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
    """The number of characters in a row without decoration and padding."""
    return len(row.text[lead:].rstrip())


def match_style(palette: Palette, *, now: bool) -> Style:
    """The style of a match: underlined, to be visible without colours; the current match (`now`) stands out."""
    if now:
        return Style(color=palette.base.bgcolor, bgcolor=palette.accent.color, bold=True, underline=True)
    return palette.panel + Style(color=palette.accent.color, underline=True)
