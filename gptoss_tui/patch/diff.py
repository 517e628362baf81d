"""Renders a plan as a unified diff for approval, from its edits and in time linear in the size of the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gptoss_tui.patch.lines import MAX_LINES
from gptoss_tui.patch.text import NotTextError, TextFile, decode
from gptoss_tui.patch.types import Edit, FileChange, Plan

_CONTEXT = 3
_NO_NEWLINE = "\\ No newline at end of file"


def unified_diff(planned: Plan) -> str:
    """Render every file of the plan in the format that `git apply` reads, with paths relative to the root."""
    return "\n".join(line for change in planned.changes for line in _file(change))


def _file(change: FileChange) -> Iterator[str]:
    if change.kind == "R":
        yield f"diff --git a/{change.path} b/{change.new_path}"
        yield f"rename from {change.path}"
        yield f"rename to {change.new_path}"
        if not change.edits:
            return
    binary = _is_binary(change.old)
    if binary:
        target = "/dev/null" if change.new is None else f"b/{change.path}"
        yield f"Binary files a/{change.path} and {target} differ"
    if not change.edits:
        if not binary:
            yield f"diff --git a/{change.path} b/{change.path}"
            yield "new file mode 100644" if change.old is None else f"deleted file mode 100{change.mode or 0o644:o}"
        return
    yield "--- /dev/null" if change.old is None else f"--- a/{change.path}"
    yield "+++ /dev/null" if change.new is None else f"+++ b/{change.new_path or change.path}"
    old = TextFile((), ()) if binary else decode(change.old or b"", MAX_LINES)
    size = len(old.lines) + sum(len(edit.lines) - (edit.stop - edit.start) for edit in change.edits)
    bare = size if _ends_in_newline(change.new, old.encoding) else size - 1
    yield from _hunks(old, bare, _with_last_line(old, bare, change.edits))


def _is_binary(data: bytes | None) -> bool:
    try:
        decode(data or b"", MAX_LINES)
    except NotTextError:
        return True
    return False


def _ends_in_newline(data: bytes | None, encoding: str) -> bool:
    newline = "\n".encode(encoding) if encoding.startswith("utf-16") else b"\n"
    return not data or data.endswith(newline)


def _with_last_line(old: TextFile, bare: int, edits: Sequence[Edit]) -> Sequence[Edit]:
    """Extend `edits` by the last unchanged line if that gains or loses its newline."""
    last = len(old.lines) - 1
    behind = len(edits)
    while behind and edits[behind - 1].stop == last + 1:
        behind -= 1
        last = edits[behind].start - 1
    at = last + sum(len(edit.lines) - (edit.stop - edit.start) for edit in edits[:behind])
    if last < 0 or bool(old.endings[last]) == (at != bare):
        return edits
    tail = edits[behind:]
    added = (old.lines[last], *(line for edit in tail for line in edit.lines))
    return (*edits[:behind], Edit(last, tail[-1].stop if tail else last + 1, added))


def _hunks(old: TextFile, bare: int, edits: Sequence[Edit]) -> Iterator[str]:
    """Yield the hunks of one file. The new line with index `bare`, if there is one, has no newline."""
    shift = 0
    for group in _groups(edits):
        start = max(group[0].start - _CONTEXT, 0)
        stop = min(group[-1].stop + _CONTEXT, len(old.lines))
        body: list[str] = []
        at = start
        out = start + shift
        for edit in group:
            body += _old_lines(" ", old, at, edit.start)
            body += _old_lines("-", old, edit.start, edit.stop)
            out += edit.start - at
            for line in edit.lines:
                body += [f"+{line}"] if out != bare else [f"+{line}", _NO_NEWLINE]
                out += 1
            at = edit.stop
        body += _old_lines(" ", old, at, stop)
        out += stop - at
        yield f"@@ -{_range(start, stop)} +{_range(start + shift, out)} @@"
        yield from body
        shift = out - stop


def _old_lines(marker: str, old: TextFile, start: int, stop: int) -> Iterator[str]:
    for line, ending in zip(old.lines[start:stop], old.endings[start:stop], strict=True):
        yield marker + line
        if not ending:
            yield _NO_NEWLINE


def _groups(edits: Sequence[Edit]) -> Iterator[list[Edit]]:
    """Group edits whose context touches or overlaps into hunks."""
    group: list[Edit] = []
    for edit in edits:
        if group and edit.start - group[-1].stop > 2 * _CONTEXT:
            yield group
            group = []
        group.append(edit)
    if group:
        yield group


def _range(start: int, stop: int) -> str:
    """Lines `start`..`stop` (from 0) in the notation of unified diffs."""
    length = stop - start
    return f"{start if not length else start + 1},{length}"
