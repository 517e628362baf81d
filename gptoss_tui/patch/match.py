"""Finds where the hunks of an update belong in a file.

Each hunk climbs a ladder of ever looser comparisons until its old lines are found: exactly, ignoring blanks at line
ends, ignoring the marker column that models forget, ignoring indentation, ignoring Unicode look-alikes. On every rung,
places are tried from most to least likely: below its `@@` headers, after the previous hunk, anywhere. More than one
match is an error that lists them; nothing is guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from gptoss_tui.errors import PatchError
from gptoss_tui.patch.explain import ambiguous, header_missing, not_found, only_additions, overlapping
from gptoss_tui.patch.indent import reindent
from gptoss_tui.patch.lines import EXACT, INDENT, LADDER, LOOK_ALIKE, TRAILING, LineIndex, Rung
from gptoss_tui.patch.scope import Scope, Scopes
from gptoss_tui.patch.types import Edit, Hunk

_UNMARKED = "but for the space in front of unchanged lines"
_MAX_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Matched:
    """The edits of a file in ascending order, notes on inexact matches, and the errors of hunks."""

    edits: tuple[Edit, ...]
    notes: tuple[str, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Region:
    """Spans of lines to search. If `nearest`, only the first match in each span counts."""

    spans: tuple[tuple[int, int], ...]
    nearest: bool = False
    note: str = ""


@dataclass(slots=True)
class _Progress:
    """The state after earlier hunks: the lines they removed, where they ended, and their edits."""

    removed: bytearray
    change_end: int = 0
    hunk_end: int = 0
    edits: list[Edit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def match_hunks(hunks: Sequence[Hunk], lines: Sequence[str]) -> Matched:
    """Place every hunk of one file. The first few errors are collected, so that the model sees them together."""
    index = LineIndex(lines)
    matcher = _Matcher(index, Scopes(index), _Progress(bytearray(len(lines))))
    errors: list[str] = []
    left = Counter((hunk.old, hunk.headers) for hunk in hunks)
    for hunk in hunks:
        if len(errors) == _MAX_ERRORS:
            break
        try:
            matcher.place(hunk, left[hunk.old, hunk.headers])
        except PatchError as error:
            errors.append(error.message)
        left[hunk.old, hunk.headers] -= 1
    done = matcher.progress
    edits = sorted(done.edits, key=lambda edit: (edit.start, edit.stop))
    return Matched(tuple(edits), tuple(done.notes), tuple(errors))


@dataclass(slots=True)
class _Matcher:
    index: LineIndex
    scopes: Scopes
    progress: _Progress

    def place(self, hunk: Hunk, repeats: int) -> None:
        """Find the place of `hunk` and record its edits. `repeats` counts the remaining equal hunks with this one.

        If there are exactly as many equal hunks as matches, each hunk takes one match.
        """
        scopes = self.scopes.of(hunk.headers)
        if hunk.headers and not scopes:
            raise PatchError(header_missing(hunk, self.scopes.missing(hunk.headers), self.index.lines))
        if not hunk.old:
            self._record(hunk, self._insertion_point(hunk, scopes), EXACT.name)
            return
        for group in self._regions(hunk, scopes):
            for name, rung, pattern in _rungs(hunk):
                for region in group:
                    hits = self._hits(rung, pattern, region, hunk)
                    if len(hits) > 1 and repeats != len(hits):
                        raise PatchError(ambiguous(hunk, hits, self.index.lines))
                    if hits:
                        self._note_region(hunk, hits[0], region, rung, pattern)
                        self._record(hunk, hits[0], name)
                        return
        self._check_overlap(hunk)
        raise PatchError(not_found(hunk, self.index))

    def _check_overlap(self, hunk: Hunk) -> None:
        """Say so when the lines are in the file, but an earlier hunk takes them away."""
        for _, rung, pattern in _rungs(hunk):
            if hits := self.index.find(rung, pattern, 0, len(self.index.lines), limit=1):
                raise PatchError(overlapping(hunk, self.progress.removed.find(1, hits[0])))

    def _regions(self, hunk: Hunk, scopes: Sequence[Scope]) -> list[list[_Region]]:
        """Groups of regions: a group is given up only after the whole ladder."""
        size = len(self.index.lines)
        progress = self.progress
        anywhere = _Region(((0, size),))
        groups: list[list[_Region]] = []
        if hunk.at_end:
            blank = next((n for n in range(size) if self.index.lines[size - 1 - n].strip()), size)
            start = size - len(hunk.old)
            ends = [_Region(((max(start, 0), size),))]
            if blank and start - blank >= 0:
                ends.append(_Region(((start - blank, size - 1),), note="blank lines follow it at the end of the file"))
            groups.append(ends)
            anywhere = _Region(((0, size),), note="it is not at the end of the file")
        if not scopes:
            after = [_Region(((at, size),), note=anywhere.note) for at in (progress.hunk_end, progress.change_end)]
            before = _Region(((0, size),), note=anywhere.note or "it stands above an earlier hunk")
            groups.append([*after, before] if progress.edits else [anywhere])
            return groups
        groups.append([*self._named(scopes), _Region(((0, size),), note="it is not below its @@ line")])
        return groups

    def _named(self, scopes: Sequence[Scope]) -> list[_Region]:
        """The regions that `@@` lines point to: inside the blocks that they open, else the nearest match below them.

        After an earlier hunk, what follows it is searched first. The `@@` line itself is only included last: a hunk may
        repeat that line, but more often its lines are further down.
        """
        size, ended = len(self.index.lines), self.progress.hunk_end
        blocks = tuple((scope.header, scope.stop) for scope in scopes if scope.block)
        below = tuple((scope.header, scope.stop if not scope.block else size) for scope in scopes)
        regions = [_Region(blocks), _Region(below, nearest=True)]
        if self.progress.edits:
            inner = tuple((start + 1, stop) for start, stop in blocks)
            regions = [
                _Region(_behind(blocks, ended)),
                _Region(inner),
                _Region(_behind(below, ended), nearest=True),
                *regions,
            ]
        return [region for region in regions if region.spans]

    def _hits(self, rung: Rung, pattern: Sequence[str], region: _Region, hunk: Hunk) -> list[int]:
        found: set[int] = set()
        for start, stop in region.spans:
            places = self.index.find(rung, pattern, start, stop)
            free = [at for at in places if self.progress.removed.find(1, at, at + len(hunk.old)) < 0]
            found.update(free[:1] if region.nearest else free)
        return sorted(found)

    def _note_region(self, hunk: Hunk, at: int, region: _Region, rung: Rung, pattern: Sequence[str]) -> None:
        if region.note:
            self.progress.notes.append(f"hunk {hunk.number}, line {at + 1}: {region.note}")
        if region.nearest:
            others = [hit for start, stop in region.spans for hit in self.index.find(rung, pattern, start, stop)]
            if len(set(others)) > 1:
                self.progress.notes.append(
                    f"hunk {hunk.number}: line {at + 1} is the first of {len(set(others))} places below its @@ line"
                )

    def _insertion_point(self, hunk: Hunk, scopes: Sequence[Scope]) -> int:
        if hunk.at_end or not self.index.lines:
            return len(self.index.lines)
        if not scopes:
            raise PatchError(only_additions(hunk))
        if len(scopes) > 1:
            raise PatchError(ambiguous(hunk, [scope.header for scope in scopes], self.index.lines))
        return scopes[0].header + 1

    def _record(self, hunk: Hunk, start: int, rung: str) -> None:
        """Turn a placed hunk into edits. Unchanged lines stay as they are in the file."""
        progress = self.progress
        if rung != EXACT.name:
            progress.notes.append(f"hunk {hunk.number}, line {start + 1}: matches the file {rung}")
        edits = _edits(hunk, start, self._added(hunk, start, rung))
        for edit in edits:
            if progress.removed.find(1, edit.start, edit.stop) >= 0:
                raise PatchError(overlapping(hunk, edit.start))
        for edit in edits:
            progress.removed[edit.start : edit.stop] = b"\1" * (edit.stop - edit.start)
            progress.change_end = edit.stop
            trimmed = _trimmed(edit, self.index.lines)
            if trimmed is not None:
                progress.edits.append(trimmed)
        progress.hunk_end = start + len(hunk.old)

    def _added(self, hunk: Hunk, start: int, rung: str) -> list[str]:
        added = [line.text for line in hunk.lines if line.kind == "+"]
        if rung not in (INDENT.name, LOOK_ALIKE.name):
            return added
        return reindent(hunk.old, self.index.lines[start : start + len(hunk.old)], added)


def _behind(spans: Sequence[tuple[int, int]], line: int) -> tuple[tuple[int, int], ...]:
    """The parts of `spans` from `line` on."""
    return tuple((max(start, line), stop) for start, stop in spans if line < stop)


def _rungs(hunk: Hunk) -> list[tuple[str, Rung, Sequence[str]]]:
    """`(name, rung, pattern)` from strict to loose."""
    rungs: list[tuple[str, Rung, Sequence[str]]] = [(rung.name, rung, hunk.old) for rung in LADDER]
    unmarked = tuple(
        f" {line.text}" if line.kind == " " and line.text.startswith((" ", "\t")) else line.text
        for line in hunk.lines
        if line.kind != "+"
    )
    if unmarked != hunk.old:
        rungs.insert(2, (_UNMARKED, TRAILING, unmarked))
    return rungs


def _edits(hunk: Hunk, start: int, added: Sequence[str]) -> list[Edit]:
    """One edit for each run of `-` and `+` lines of a hunk that is placed at line `start`."""
    edits: list[Edit] = []
    at = run = start
    lines: list[str] = []
    fresh = iter(added)
    for line in (*hunk.lines, None):
        if line is None or line.kind == " ":
            if at > run or lines:
                edits.append(Edit(run, at, tuple(lines)))
            lines = []
            at += 1
            run = at
        elif line.kind == "-":
            at += 1
        else:
            lines.append(next(fresh))
    return edits


def _trimmed(edit: Edit, lines: Sequence[str]) -> Edit | None:
    """`edit` without outer lines that it would leave unchanged; None when nothing is left."""
    start, stop, added = edit.start, edit.stop, list(edit.lines)
    while start < stop and added and lines[start] == added[0]:
        start += 1
        added.pop(0)
    while start < stop and added and lines[stop - 1] == added[-1]:
        stop -= 1
        added.pop()
    return Edit(start, stop, tuple(added)) if start < stop or added else None
