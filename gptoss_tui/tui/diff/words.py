"""Which lines of a diff correspond to each other, and which of their words changed. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

Span = tuple[int, int]

_WORDS: Final = re.compile(r"\w+|\s+|[^\w\s]")
_MAX_CHARS: Final = 500
_MAX_LINES: Final = 60
_ALIKE: Final = 0.5
"""Lines less similar than this are treated as different: marking nearly all of both would not help."""


def pair_lines(removed: Sequence[str], added: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """The rows of a block side by side, with corresponding lines paired. Every line appears once, in order."""
    if len(removed) > _MAX_LINES or len(added) > _MAX_LINES:
        pairs = min(len(removed), len(added))
        both: list[tuple[int | None, int | None]] = [(n, n) for n in range(pairs)]
        return [*both, *((n, None) for n in range(pairs, len(removed))), *((None, n) for n in range(pairs, len(added)))]
    rows: list[tuple[int | None, int | None]] = []
    left = right = 0
    for one, other in _likest(removed, added):
        rows += _beside(range(left, one), range(right, other))
        rows.append((one, other))
        left, right = one + 1, other + 1
    return rows + _beside(range(left, len(removed)), range(right, len(added)))


def changed_words(old: str, new: str) -> tuple[list[Span], list[Span]]:
    """The spans removed from `old` and those added in `new`; none when the lines have too little in common."""
    if max(len(old), len(new)) > _MAX_CHARS:
        return [], []
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return [], []
    went: list[Span] = []
    came: list[Span] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            _add(went, before, a, b)
            _add(came, after, c, d)
    return went, came


def _add(spans: list[Span], words: Sequence[str], start: int, stop: int) -> None:
    begin = sum(map(len, words[:start]))
    end = begin + sum(map(len, words[start:stop]))
    if end > begin:
        spans.append((begin, end))


def _likest(removed: Sequence[str], added: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of similar lines, in order, with the greatest total similarity."""
    rows, columns = len(removed), len(added)
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    like = [[_likeness(old, new) for new in added] for old in removed]
    for row in range(rows - 1, -1, -1):
        for column in range(columns - 1, -1, -1):
            paired = like[row][column] + best[row + 1][column + 1] if like[row][column] >= _ALIKE else 0.0
            best[row][column] = max(best[row + 1][column], best[row][column + 1], paired)
    pairs = []
    row = column = 0
    while row < rows and column < columns:
        alike = like[row][column]
        if alike >= _ALIKE and best[row][column] == alike + best[row + 1][column + 1]:
            pairs.append((row, column))
            row, column = row + 1, column + 1
        elif best[row][column] == best[row + 1][column]:
            row += 1
        else:
            column += 1
    return pairs


def _likeness(old: str, new: str) -> float:
    """The share of words in common, by their counts only (`quick_ratio`): fast, and good enough to pair lines."""
    if max(len(old), len(new)) > _MAX_CHARS:
        return float(old == new)
    return SequenceMatcher(None, _WORDS.findall(old.strip()), _WORDS.findall(new.strip()), autojunk=False).quick_ratio()


def _beside(left: range, right: range) -> list[tuple[int | None, int | None]]:
    """Place unpaired lines side by side as far as they go."""
    size = max(len(left), len(right))
    return [(left[n] if n < len(left) else None, right[n] if n < len(right) else None) for n in range(size)]
