"""Three-way merge of text: combines the changes of both sides where they did not change the same lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gptoss_tui.patch.compare import changed_runs


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge result. `data` has conflict marks around lines that both sides changed; `conflicts` counts them."""

    data: bytes
    conflicts: int


@dataclass(frozen=True, slots=True)
class _Change:
    """Replaces lines `start`..`stop` of the base by `lines`."""

    start: int
    stop: int
    lines: tuple[bytes, ...]
    ours: bool


def merge(base: bytes, ours: bytes, theirs: bytes, *, names: tuple[str, str]) -> Merged:
    """Merge both sides' changes to `base`. `names` label the two sides in conflict marks."""
    old = _lines(base)
    changes = [*_changes(old, _lines(ours), ours=True), *_changes(old, _lines(theirs), ours=False)]
    changes.sort(key=lambda change: (change.start, change.stop))
    out: list[bytes] = []
    at = conflicts = 0
    for group in _groups(changes):
        start, stop = group[0].start, max(change.stop for change in group)
        out += old[at:start]
        at = stop
        sides = [_side(old, start, stop, [c for c in group if c.ours is side]) for side in (True, False)]
        if all(change.ours for change in group) or sides[0] == sides[1]:
            out += sides[0]
        elif not any(change.ours for change in group):
            out += sides[1]
        else:
            conflicts += 1
            out += _marked(sides, names)
    out += old[at:]
    return Merged(b"".join(out), conflicts)


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _changes(old: Sequence[bytes], new: Sequence[bytes], *, ours: bool) -> list[_Change]:
    return [_Change(i1, i2, tuple(new[j1:j2]), ours) for i1, i2, j1, j2 in changed_runs(old, new)]


def _groups(changes: Sequence[_Change]) -> list[list[_Change]]:
    """Group changes that overlap or touch."""
    groups: list[list[_Change]] = []
    end = -1
    for change in changes:
        if groups and change.start <= end:
            groups[-1].append(change)
        else:
            groups.append([change])
        end = max(end, change.stop)
    return groups


def _side(old: Sequence[bytes], start: int, stop: int, changes: Sequence[_Change]) -> list[bytes]:
    """Lines `start`..`stop` of the base with the changes of one side."""
    out: list[bytes] = []
    at = start
    for change in changes:
        out += [*old[at : change.start], *change.lines]
        at = change.stop
    return [*out, *old[at:stop]]


def _marked(sides: Sequence[Sequence[bytes]], names: tuple[str, str]) -> list[bytes]:
    ours, theirs = (_ended(b"".join(side)) for side in sides)
    end = b"\r\n" if b"\r\n" in ours + theirs else b"\n"
    first, last = (name.encode() for name in names)
    return [b"<<<<<<< " + first + end, ours, b"=======" + end, theirs, b">>>>>>> " + last + end]


def _ended(block: bytes) -> bytes:
    return block if not block or block.endswith(b"\n") else block + b"\n"
