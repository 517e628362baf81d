"""Finds the lines in which two versions of a text differ, in bounded time."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

_MAX_COMPARED = 25_000_000  # lines times lines
_MAX_PAIRS = 4_000_000  # pairs of equal lines, of which a few often repeated lines make many


def changed_runs(old: Sequence[Hashable], new: Sequence[Hashable]) -> Iterator[tuple[int, int, int, int]]:
    """Yield `(i1, i2, j1, j2)` for each changed run, ascending: `old[i1:i2]` is replaced by `new[j1:j2]`.

    Equal lines at both ends are never part of a run; if comparing the rest would take too long, it counts as one run.
    """
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    if not before and not after:
        return
    if _costs_too_much(before, after):
        yield head, head + len(before), head, head + len(after)
        return
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield head + i1, head + i2, head + j1, head + j2


def _costs_too_much(before: Sequence[Hashable], after: Sequence[Hashable]) -> bool:
    if len(before) * len(after) > _MAX_COMPARED:
        return True
    counted = Counter(after)
    return sum(count * counted[line] for line, count in Counter(before).items()) > _MAX_PAIRS
