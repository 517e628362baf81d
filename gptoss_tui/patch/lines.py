"""Finds runs of lines in a file, in linear time and under looser and looser notions of equality.

Each distinct line is mapped to one character, so that a file becomes a string and a hunk a substring. `str.find` is
linear even for a file of a hundred thousand equal lines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

MAX_HITS = 50
MAX_LINES = 1_000_000  # below the number of code points, so that every distinct line can have its own character

_SPACES = "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_ALIKE = {
    "'": "‘’‚‛′‵ʼ＇`",
    '"': "“”„‟″«»＂",
    "-": "‐‑‒–—―−﹘﹣－",
    " ": _SPACES,
    "": "\u00ad\u200b\u200c\u200d\u2060\ufeff",
    "\ufffd": "".join(map(chr, range(0xDC80, 0xDD00))),  # bytes that are not UTF-8
    "...": "…",
}
_LOOK_ALIKES = {ord(char): plain for plain, chars in _ALIKE.items() for char in chars}


def fold(line: str) -> str:
    """Strip `line` and replace Unicode look-alikes by their plain forms."""
    return line.translate(_LOOK_ALIKES).strip()


@dataclass(frozen=True, slots=True)
class Rung:
    """One notion of equality: lines are equal if `key` maps them to the same text."""

    name: str
    key: Callable[[str], str]


EXACT = Rung("exactly", str)
TRAILING = Rung("but for blanks at line ends", str.rstrip)
INDENT = Rung("but for indentation", str.strip)
LOOK_ALIKE = Rung("but for look-alike characters (quotes, dashes, spaces)", fold)
LADDER = (EXACT, TRAILING, INDENT, LOOK_ALIKE)


class LineIndex:
    """The lines of a file (at most `MAX_LINES`), searchable on every rung. Each rung's index is built on first use."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self._rungs: dict[str, tuple[dict[str, str], str]] = {}
        self._folded: tuple[str, list[int]] | None = None

    def find(self, rung: Rung, pattern: Sequence[str], start: int, stop: int, *, limit: int = MAX_HITS) -> list[int]:
        """Find `pattern` (not empty) within lines `start`..`stop`. Returns at most `limit` positions, ascending."""
        letters, text = self._spelled(rung)
        try:
            needle = "".join(letters[rung.key(line)] for line in pattern)
        except KeyError:
            return []
        hits: list[int] = []
        at = text.find(needle, start, stop)
        while at >= 0 and len(hits) < limit:
            hits.append(at)
            at = text.find(needle, at + 1, stop)
        return hits

    def positions(self, rung: Rung, line: str) -> list[int]:
        """The positions of lines that equal `line`."""
        return self.find(rung, [line], 0, len(self.lines), limit=MAX_HITS)

    def containing(self, fragment: str, *, at_start: bool, limit: int = MAX_HITS) -> list[int]:
        """The lines that contain `fragment`, or start with it, ignoring outer blanks and look-alikes."""
        if self._folded is None:
            folded = [fold(line) for line in self.lines]
            starts = list(accumulate((len(line) + 1 for line in folded), initial=0))
            self._folded = ("\n" + "\n".join(folded), starts)
        text, starts = self._folded
        needle = f"\n{fold(fragment)}" if at_start else fold(fragment)
        hits: list[int] = []
        at = text.find(needle)
        while at >= 0 and len(hits) < limit:
            line = bisect_right(starts, at if at_start else at - 1) - 1
            hits.append(line)
            at = text.find(needle, starts[line + 1])
        return hits

    def _spelled(self, rung: Rung) -> tuple[dict[str, str], str]:
        if rung.name not in self._rungs:
            letters: dict[str, str] = {}
            keys = [rung.key(line) for line in self.lines]
            for key in keys:
                if key not in letters:
                    letters[key] = chr(len(letters))
            self._rungs[rung.name] = (letters, "".join(letters[key] for key in keys))
        return self._rungs[rung.name]


def indent_of(line: str) -> str:
    """The indentation of `line`."""
    return line[: len(line) - len(line.lstrip(" \t"))]
