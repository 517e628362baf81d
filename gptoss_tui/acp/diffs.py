"""Splits one of our unified diffs into what a client draws: the old and new text of each hunk."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HUNK = re.compile(r"@@ -\d+,(\d+) \+(\d+),(\d+) @@")
_NOTHING = "/dev/null"


@dataclass(frozen=True, slots=True)
class Hunk:
    """A part of a file with context. `old` is None for a new file; `line` (from 1) is where the new text begins."""

    path: str
    old: str | None
    new: str
    line: int
    deletes: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """A parsed diff: its `hunks`, and the lines outside of hunks (moves, empty and binary files)."""

    hunks: tuple[Hunk, ...] = ()
    rest: tuple[str, ...] = ()


def read_diff(text: str) -> Diff:
    """Parse a diff from `patch.unified_diff`. Lines are counted by the hunk headers, so content is never misread."""
    lines = text.split("\n") if text else []
    hunks: list[Hunk] = []
    rest: list[str] = []
    old_path = new_path = ""
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("--- "):
            old_path = line[4:]
        elif line.startswith("+++ "):
            new_path = line[4:]
        elif match := _HUNK.fullmatch(line):
            old, new, at = _read_hunk(lines, at, int(match[1]), int(match[3]))
            deletes = new_path == _NOTHING
            path = old_path.removeprefix("a/") if deletes else new_path.removeprefix("b/")
            hunks.append(Hunk(path, None if old_path == _NOTHING else old, new, max(1, int(match[2])), deletes))
        else:
            rest.append(line)
    return Diff(tuple(hunks), tuple(rest))


def _read_hunk(lines: list[str], at: int, old_count: int, new_count: int) -> tuple[str, str, int]:
    """Return the old and new text of the hunk whose body begins at line `at`, and the index of the line after it."""
    old: list[str] = []
    new: list[str] = []
    while at < len(lines) and (len(old) < old_count or len(new) < new_count or lines[at].startswith("\\")):
        marker, text = lines[at][:1], lines[at][1:]
        bare = at + 1 < len(lines) and lines[at + 1].startswith("\\")
        ended = text if bare else f"{text}\n"
        if marker in ("-", " "):
            old.append(ended)
        if marker in ("+", " "):
            new.append(ended)
        at += 1
    return "".join(old), "".join(new), at
