"""Parsing a unified diff into rows with line numbers. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gptoss_tui.sanitize import to_terminal_text

RowKind = Literal["file", "hunk", "context", "added", "removed", "note"]

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)")

_NO_LINES = re.compile(r"diff --git a/(.+) b/\1\Z")
"""A file that is added, deleted or changed without any lines; the note below it says which."""
_BINARY_GONE = re.compile(r"Binary files a/(.+) and /dev/null differ\Z")


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One row of a diff. `old` and `new` are line numbers (for a hunk, where it begins); None where there is none.

    For a `file` row, `path` is the file as the diff names it: the new path, or the old one of a deleted file.
    """

    kind: RowKind
    text: str
    old: int | None = None
    new: int | None = None
    path: str = ""


def parse_unified(diff: str, root: str = "") -> list[DiffRow]:
    """The rows of a unified diff, safe for the terminal. Lines that are not diff syntax are kept, to hide nothing."""
    return list(_rows([_visible(line) for line in diff.removesuffix("\n").split("\n")], root))


def _visible(line: str) -> str:
    """Keep one line one row whatever it contains, with carriage returns made visible."""
    return to_terminal_text(line.replace("\r", "␍")).replace("\n", "⏎")


def _rows(source: list[str], root: str) -> Iterator[DiffRow]:
    """Within a hunk the counts in its header decide, so that a removed line `-- a` cannot pass for a file header."""
    hunk = _Hunk()
    left = ""
    for index, line in enumerate(source):
        following = source[index + 1] if index + 1 < len(source) else ""
        if hunk.is_open:
            yield hunk.take(line)
        elif line.startswith("--- ") and following.startswith("+++ "):
            left = line[4:]
        elif line.startswith("+++ ") and left:
            yield DiffRow("file", _file_title(left, line[4:], root), path=_path(left, line[4:]))
            left = ""
        elif match := _HUNK.match(line):
            hunk = _Hunk(int(match[1]), int(match[2] or 1), int(match[3]), int(match[4] or 1))
            yield DiffRow("hunk", match[5], old=hunk.old, new=hunk.new)
        elif line.startswith("diff --git ") and following.startswith("rename from "):
            continue  # the next two lines repeat it
        elif line.startswith("rename from ") and following.startswith("rename to "):
            if not "".join(source[index + 2 : index + 3]).startswith("--- "):  # else a header for its lines follows
                title = f"{_shown(line[12:], '', root)} → {_shown(following[10:], '', root)}  (moved)"
                yield DiffRow("file", title, path=following[10:])
        elif line.startswith("rename to ") and source[index - 1].startswith("rename from "):
            continue
        elif match := _NO_LINES.match(line):
            yield DiffRow("file", _shown(match[1], "", root), path=match[1])
        elif match := _BINARY_GONE.match(line):
            yield DiffRow("file", f"{_shown(match[1], '', root)}  (binary, deleted)", path=match[1])
        else:
            yield DiffRow("note", line)


@dataclass(slots=True)
class _Hunk:
    """How many lines of a hunk are still to come."""

    old: int = 0
    old_left: int = 0
    new: int = 0
    new_left: int = 0

    @property
    def is_open(self) -> bool:
        return self.old_left > 0 or self.new_left > 0

    def take(self, line: str) -> DiffRow:
        sign, text = line[:1] or " ", line[1:]
        if sign not in "+- ":
            return DiffRow("note", line)
        old = self.old if sign != "+" else None
        new = self.new if sign != "-" else None
        if old is not None:
            self.old, self.old_left = self.old + 1, self.old_left - 1
        if new is not None:
            self.new, self.new_left = self.new + 1, self.new_left - 1
        kind: RowKind = "context" if sign == " " else "added" if sign == "+" else "removed"
        return DiffRow(kind, text, old=old, new=new)


def _file_title(old: str, new: str, root: str) -> str:
    before, after = (_shown(path.split("\t")[0], side, root) for path, side in ((old, "a/"), (new, "b/")))
    if old.startswith("/dev/null"):
        return f"{after}  (new file)"
    if new.startswith("/dev/null"):
        return f"{before}  (deleted)"
    return after if before == after else f"{before} → {after}"


def _path(old: str, new: str) -> str:
    if new.startswith("/dev/null"):
        return old.split("\t")[0].removeprefix("a/")
    return new.split("\t")[0].removeprefix("b/")


def _shown(path: str, side: str, root: str) -> str:
    path = path.removeprefix(side)
    return path if not root or path.startswith("/") else f"{root.rstrip('/')}/{path}"


def count_changes(rows: list[DiffRow]) -> tuple[int, int]:
    """The numbers of added and of removed lines."""
    return sum(r.kind == "added" for r in rows), sum(r.kind == "removed" for r in rows)
