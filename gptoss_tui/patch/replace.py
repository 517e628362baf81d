"""Finds a text in a file and makes the edits that replace it.

The text is first searched for exactly, within lines and across them. If it is not found, but consists of whole lines,
it climbs the same ladder as the hunks of a patch; its unchanged lines then stay as they are in the file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from gptoss_tui.patch.compare import changed_runs
from gptoss_tui.patch.explain import nearest_place, shown_lines
from gptoss_tui.patch.lines import LADDER, LineIndex
from gptoss_tui.patch.match import Matched, match_hunks
from gptoss_tui.patch.types import Edit, Hunk, HunkLine


def replace_text(lines: Sequence[str], old: str, new: str, count: int) -> Matched:
    """Make the edits that replace `old` (not empty), which must occur exactly `count` times. CRLF is read as `\\n`."""
    old, new = _plain_ends(old), _plain_ends(new)
    text = "".join(f"{line}\n" for line in lines)
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    hits = _places(text, old)
    if not hits:
        return _loosely(lines, old, new, count)
    if len(hits) != count:
        return _refused(_miscounted([bisect_right(starts, hit) for hit in hits], count))
    return Matched(tuple(_edits(text, starts, hits, old, new)), (), ())


def _plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n")


def _places(text: str, old: str) -> list[int]:
    """The offsets of `old`, without overlapping matches."""
    hits: list[int] = []
    at = text.find(old)
    while at >= 0:
        hits.append(at)
        at = text.find(old, at + len(old))
    return hits


def _edits(text: str, starts: Sequence[int], hits: Sequence[int], old: str, new: str) -> list[Edit]:
    """One edit for each run of lines that the matches touch."""
    edits: list[Edit] = []
    at = 0
    while at < len(hits):
        first = stop = bisect_right(starts, hits[at]) - 1
        pieces: list[str] = []
        position = starts[first]
        while at < len(hits) and (hits[at] < starts[stop] or stop == first):
            pieces += (text[position : hits[at]], new)
            position = hits[at] + len(old)
            stop = max(stop, bisect_right(starts, position - 1))
            at += 1
            if position == starts[stop] and stop < len(starts) - 1 and _in_a_line(pieces):
                stop += 1
        content = "".join((*pieces, text[position : starts[stop]]))
        edits.append(Edit(first, stop, tuple(content.removesuffix("\n").split("\n")) if content else ()))
    return edits


def _in_a_line(pieces: Sequence[str]) -> bool:
    """Whether the text ends in the middle of a line."""
    last = next((piece for piece in reversed(pieces) if piece), "\n")
    return not last.endswith("\n")


def _loosely(lines: Sequence[str], old: str, new: str, count: int) -> Matched:
    """Replace whole lines that are in the file except for blanks, indentation or look-alike characters."""
    pattern, added = _cut(old), _cut(new)
    index = LineIndex(lines)
    rungs = LADDER[1:] if any(line.strip() for line in pattern) else ()
    hits = next((hits for rung in rungs if (hits := index.find(rung, pattern, 0, len(lines)))), [])
    if not hits:
        near = nearest_place(pattern, index, "old_text")
        return _refused(f"these lines of old_text are not in the file:\n{shown_lines(pattern)}\n{near}")
    if len(hits) != count:
        return _refused(_miscounted([hit + 1 for hit in hits], count))
    body = tuple(_hunk_lines(pattern, added))
    matched = match_hunks([Hunk(number, 1, (), body) for number in range(1, count + 1)], lines)
    notes = tuple(note.replace("hunk", "place", 1) for note in matched.notes)
    return Matched(matched.edits, notes, matched.errors)


def _cut(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _hunk_lines(old: Sequence[str], new: Sequence[str]) -> list[HunkLine]:
    """Combine both texts into the lines of one hunk; common lines are unchanged ones."""
    out: list[HunkLine] = []
    at = 0
    for i1, i2, j1, j2 in changed_runs(old, new):
        out += [HunkLine(" ", line) for line in old[at:i1]]
        out += [HunkLine("-", line) for line in old[i1:i2]]
        out += [HunkLine("+", line) for line in new[j1:j2]]
        at = i2
    return [*out, *(HunkLine(" ", line) for line in old[at:])]


def _miscounted(found: Sequence[int], count: int) -> str:
    numbers = ", ".join(map(str, found[:8])) + (", …" if len(found) > 8 else "")
    times = "once" if len(found) == 1 else f"{len(found)} times"
    return (
        f"old_text is in the file {times} (line{'s' if len(found) > 1 else ''} {numbers}), but count is {count}. "
        f"Send it again with more of the lines around the right place, or with count {len(found)} to replace all."
    )


def _refused(error: str) -> Matched:
    return Matched((), (), (error,))
