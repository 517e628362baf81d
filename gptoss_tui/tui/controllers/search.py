"""Stepping through the matches of a search in the conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss_tui.tui.search import Search

if TYPE_CHECKING:
    from gptoss_tui.tui.blocks.base import Block
    from gptoss_tui.tui.widgets.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Found:
    """The current match, `position` (from 1) of `total`; both are 0 when there is none."""

    position: int = 0
    total: int = 0


class SearchController:
    """Counts matches in the text of blocks, which needs no drawing, and draws only the block that is shown."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._search: Search | None = None
        self._counted: dict[Block, tuple[int, int]] = {}
        self._at: tuple[Block, int] | None = None

    def look_for(self, wanted: str) -> Found:
        """Mark matches and go to the first one below the top of the view, or else to the last one above it."""
        self._search = Search(wanted) if wanted.strip() else None
        self._counted.clear()
        self._at = None
        self._transcript.mark(self._search)
        matches = self._matches()
        if not matches:
            return Found()
        first = self._transcript.first_visible()
        below = next((at for at, (block, _) in enumerate(matches) if self._transcript.is_below(block, first)), None)
        return self._go(matches, len(matches) - 1 if below is None else below, 0 if below is not None else -1)

    def step(self, direction: int) -> Found:
        """Go to the next match (1) or the previous one (-1), wrapping around at the ends."""
        matches = self._matches()
        if not matches:
            return Found()
        at = next((n for n, (block, _) in enumerate(matches) if self._at and block is self._at[0]), None)
        if at is None or self._at is None:
            return self._go(matches, 0 if direction > 0 else len(matches) - 1, 0 if direction > 0 else -1)
        number = self._at[1] + direction
        if 0 <= number < matches[at][1]:
            return self._go(matches, at, number)
        return self._go(matches, (at + direction) % len(matches), 0 if direction > 0 else -1)

    def close(self) -> None:
        """End the search and remove its marks."""
        self._search, self._at = None, None
        self._counted.clear()
        self._transcript.mark(None)

    def _go(self, matches: list[tuple[Block, int]], at: int, number: int) -> Found:
        block, count = matches[at]
        number = number % count
        self._at = (block, number)
        self._transcript.show_hit(block, number)
        return Found(sum(n for _, n in matches[:at]) + number + 1, sum(n for _, n in matches))

    def _matches(self) -> list[tuple[Block, int]]:
        """The blocks with matches and their counts; only blocks that changed are counted again."""
        if self._search is None:
            return []
        matches: list[tuple[Block, int]] = []
        for block, version in self._transcript.versions():
            known = self._counted.get(block)
            if known is None or known[0] != version:
                known = self._counted[block] = (version, self._search.count(block.source()))
            if known[1]:
                matches.append((block, known[1]))
        return matches
