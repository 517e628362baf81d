"""Turns goals into writes: what to write so that files reach their goals even if they were changed since."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.patch.text import NotTextError, decode
from gptoss_tui.patch.types import FileState, Write
from gptoss_tui.undo.merge import Merged, merge
from gptoss_tui.undo.types import Choice, Conflict, Goal, UndoReport

_MARKS = ("now", "wanted")


@dataclass(slots=True)
class Settlement:
    """The writes that are needed, and the outcome for each file."""

    writes: list[Write] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)

    def report(self, turn: str) -> UndoReport:
        """The report for the user."""
        parts = (tuple(self.restored), tuple(self.merged), tuple(self.kept), tuple(self.conflicts))
        return UndoReport(turn, *parts)


def settle(tree: Tree, goals: Sequence[Goal], choices: Mapping[str, Choice]) -> Settlement:
    """Decide what to write, without writing it. `choices` are the answers to conflicts, by path."""
    out = Settlement()
    for goal in goals:
        try:
            current = _read(tree, goal.path)
        except PathError as error:
            _choose(out, Conflict(goal.path, error.message, ("keep",), *_contents(goal, None)), choices, None, None)
            continue
        _settle_one(out, goal, current, choices)
    return out


def _settle_one(out: Settlement, goal: Goal, current: FileState | None, choices: Mapping[str, Choice]) -> None:
    now, after, wanted = (None if state is None else state.data for state in (current, goal.expected, goal.wanted))
    if now == wanted:
        out.restored.append(goal.path)
    elif now == after:
        _write(out, goal.path, current, goal.wanted)
        out.restored.append(goal.path)
    else:
        merged = _merged(after, now, wanted)
        if merged is not None and not merged.conflicts and current is not None:
            _write(out, goal.path, current, FileState(merged.data, current.mode))
            out.merged.append(goal.path)
            return
        reason, options = _why(goal, current, merged)
        _choose(out, Conflict(goal.path, reason, options, *_contents(goal, now)), choices, current, (goal, merged))


def _choose(
    out: Settlement,
    conflict: Conflict,
    choices: Mapping[str, Choice],
    current: FileState | None,
    ways: tuple[Goal, Merged | None] | None,
) -> None:
    choice = choices.get(conflict.path)
    if choice not in conflict.choices:
        out.conflicts.append(conflict)
    elif choice == "keep" or ways is None:
        out.kept.append(conflict.path)
    elif choice == "restore":
        _write(out, conflict.path, current, ways[0].wanted)
        out.restored.append(conflict.path)
    elif ways[1] is not None and current is not None:
        _write(out, conflict.path, current, FileState(ways[1].data, current.mode))
        out.merged.append(conflict.path)


def _write(out: Settlement, path: str, current: FileState | None, wanted: FileState | None) -> None:
    """Add a write. An existing file keeps its mode; a restored one gets the mode that it had."""
    if current is not None and wanted is not None:
        wanted = FileState(wanted.data, current.mode)
    out.writes.append(Write(path, current, wanted))


def _read(tree: Tree, path: str) -> FileState | None:
    """Read the current file; None if it does not exist. Raises PathError for a file that may not be written."""
    if tree.resolve(path, last_link=False) != path:
        raise PathError(f"{path}: a folder on the way is a symbolic link now")
    if tree.stat(path) is None:
        return None
    data, status = tree.read(path)
    if status.st_nlink > 1:
        raise PathError(f"{path}: it has {status.st_nlink} hard links now")
    return FileState(data, stat.S_IMODE(status.st_mode))


def _merged(base: bytes | None, ours: bytes | None, theirs: bytes | None) -> Merged | None:
    """Merge both changes; None if a version is missing, is not text, or they cannot be merged by lines."""
    if base is None or ours is None or theirs is None:
        return None
    try:
        encodings = {(text.encoding, text.mark) for text in map(decode, (base, ours, theirs))}
    except NotTextError:
        return None
    if len(encodings) > 1 or any(name.startswith("utf-16") for name, _ in encodings):
        return None
    return merge(base, ours, theirs, names=_MARKS)


def _why(goal: Goal, current: FileState | None, merged: Merged | None) -> tuple[str, tuple[Choice, ...]]:
    if current is None:
        return f"{goal.path}: the file was deleted since", ("keep", "restore")
    if goal.wanted is None:
        return f"{goal.path}: the file would be removed, but it was changed since", ("keep", "restore")
    if goal.expected is None:
        return f"{goal.path}: another file of that name was made since", ("keep", "restore")
    if merged is None:
        return f"{goal.path}: the file was changed since and is no text that could be merged", ("keep", "restore")
    return f"{goal.path}: the same lines were changed since", ("keep", "restore", "merge")


def _contents(goal: Goal, now: bytes | None) -> tuple[bytes | None, bytes | None, bytes | None]:
    expected, wanted = (None if state is None else state.data for state in (goal.expected, goal.wanted))
    return expected, now, wanted
