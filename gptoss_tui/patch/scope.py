"""Finds the lines of a file that the `@@` headers of a hunk refer to."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from gptoss_tui.patch.lines import LADDER, MAX_HITS, LineIndex, indent_of

_BRACKETS = tuple(")]}{")
_MAX_OUTER = 1000
_MAX_MEASURED = (
    5_000_000  # limit on the lines scanned in total to find the ends of blocks; further headers count as no block
)


@dataclass(frozen=True, slots=True)
class Scope:
    """The lines `header`..`stop` (from 0) that follow one occurrence of the headers.

    If `block`, the header opens an indented block that ends at `stop`; otherwise `stop` is the end of the outer scope.
    """

    header: int
    stop: int
    block: bool


class Scopes:
    """Looks up headers in one file, with a cache."""

    def __init__(self, index: LineIndex) -> None:
        self._index = index
        self._lines: dict[str, list[int]] = {}
        self._scopes: dict[int, Scope] = {}
        self._left = _MAX_MEASURED

    def of(self, headers: tuple[str, ...]) -> list[Scope]:
        """The scopes of the innermost header, within those of the outer ones. Empty when a header is missing.

        Returns at most `MAX_HITS`: a header with more occurrences does not help to tell them apart.
        """
        if not headers:
            return []
        around = [Scope(-1, len(self._index.lines), True)]
        for header in headers[:-1]:
            around = self._inside(around, header, _MAX_OUTER)
        return self._inside(around, headers[-1], MAX_HITS)

    def missing(self, headers: tuple[str, ...]) -> str:
        """The first header that is not found."""
        return next(h for n, h in enumerate(headers, 1) if not self.of(headers[:n]))

    def _inside(self, around: Sequence[Scope], header: str, limit: int) -> list[Scope]:
        """The scopes of `header` that start inside those in `around`, cut off at their ends, in file order."""
        lines = self._lines_of(header)
        kept: dict[int, Scope] = {}
        for outer in around:
            for at in range(bisect_right(lines, outer.header), bisect_left(lines, outer.stop)):
                if len(kept) == limit:
                    break
                line = lines[at]
                scope = self._scope(line)
                kept.setdefault(line, Scope(line, min(scope.stop, outer.stop), scope.block))
        return [kept[line] for line in sorted(kept)]

    def _lines_of(self, header: str) -> list[int]:
        """All line numbers that `header` may refer to, ascending."""
        if header not in self._lines:
            self._lines[header] = self._looked_up(header)
        return self._lines[header]

    def _looked_up(self, header: str) -> list[int]:
        everywhere = len(self._index.lines)
        for rung in LADDER:
            if hits := self._index.find(rung, [header], 0, everywhere, limit=everywhere):
                return hits
        starting = self._index.containing(header, at_start=True, limit=everywhere)
        return starting or self._index.containing(header, at_start=False, limit=everywhere)

    def _scope(self, header: int) -> Scope:
        if header not in self._scopes:
            self._scopes[header] = self._measured(header)
        return self._scopes[header]

    def _measured(self, header: int) -> Scope:
        lines = self._index.lines
        depth = len(indent_of(lines[header]))
        deeper = False
        for at in range(header + 1, len(lines)):
            self._left -= 1
            if self._left < 0:
                return Scope(header, len(lines), False)
            stripped = lines[at].strip()
            if not stripped:
                continue
            if len(indent_of(lines[at])) > depth:
                deeper = True
            elif not stripped.startswith(_BRACKETS):
                return Scope(header, at, True) if deeper else Scope(header, len(lines), False)
        return Scope(header, len(lines), deeper)
