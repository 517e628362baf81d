"""Changes of a file as data, and the hunks of a patch for them: only as much context as makes a place unique."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training.data.draw import text_lines
from training.data.files import TextFile

Change = tuple[int, int, list[str]]
"""At line index `[0]`, `[1]` lines are replaced by the lines `[2]`."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A requested edit of a file. `goal` is a verb phrase, `done` the same in the past; `changes` are in file order."""

    request: str
    file: TextFile
    changes: list[Change]
    goal: str
    done: str
    key: str


def apply_changes(lines: list[str], changes: list[Change]) -> list[str]:
    """The lines after the changes."""
    result = list(lines)
    for at, count, new in reversed(changes):
        result[at : at + count] = new
    return result


def _occurrences(lines: list[str], block: list[str]) -> int:
    return sum(lines[i : i + len(block)] == block for i in range(len(lines) - len(block) + 1))


def hunks(lines: list[str], changes: list[Change]) -> list[str] | None:
    """Hunks for the changes, each with only as many lines before it as make its place unique.

    None if three lines are not enough.
    """
    out: list[str] = []
    for at, count, new in _joined(lines, changes):
        for before in range(0 if count else 1, 4):
            start = max(at - before, 0)
            after = 1 if not count and not at else 0
            block = lines[start : at + count + after]
            if block and _occurrences(lines, block) == 1 and any(line.strip() for line in block):
                break
        else:
            return None
        out.append("@@")
        out += [f" {line}" for line in lines[start:at]]
        out += [f"-{line}" for line in lines[at : at + count]]
        out += [f"+{line}" for line in new]
        out += [f" {line}" for line in lines[at + count : at + count + after]]
    return out


def _joined(lines: list[str], changes: list[Change]) -> list[Change]:
    """Join changes of neighbouring lines into one."""
    joined: list[Change] = []
    for at, count, new in changes:
        if joined and sum(joined[-1][:2]) == at and count and joined[-1][1]:
            last = joined.pop()
            joined.append((last[0], last[1] + count, [*last[2], *new]))
        else:
            joined.append((at, count, new))
    return joined


def tokens_of(line: str) -> list[str]:
    """Words and numbers of a line."""
    return re.findall(r"[A-Za-z_][A-Za-z_0-9]*|\d+", line)


def count_word(text: str, word: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text))


KEYWORDS = frozenset(text_lines("keywords"))
