"""A plan as a unified diff: what a person approves. Linear in the size of the files; built from the planned edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gptoss_tui.patch.text import NotTextError, TextFile, decode
from gptoss_tui.patch.types import Edit, FileChange, Plan

_CONTEXT = 3
_NO_NEWLINE = "\\ No newline at end of file"


def unified_diff(planned: Plan) -> str:
    """Every file of the plan in the form that `git apply` reads, with full paths relative to the root."""
    return "\n".join(line for change in planned.changes for line in _file(change))


def _file(change: FileChange) -> Iterator[str]:
    if change.kind == "R":
        yield f"diff --git a/{change.path} b/{change.new_path}"
        yield f"rename from {change.path}"
        yield f"rename to {change.new_path}"
        if not change.edits:
            return
    if not change.edits:
        yield f"diff --git a/{change.path} b/{change.path}"
        yield "new file mode 100644" if change.old is None else f"deleted file mode 100{change.mode or 0o644:o}"
        if change.old:
            yield f"Binary files a/{change.path} and /dev/null differ"
        return
    yield "--- /dev/null" if change.old is None else f"--- a/{change.path}"
    yield "+++ /dev/null" if change.new is None else f"+++ b/{change.new_path or change.path}"
    old, new = _decoded(change.old), _decoded(change.new)
    yield from _hunks(old, new, _with_last_line(old, new, change.edits))


def _decoded(data: bytes | None) -> TextFile:
    try:
        return decode(data or b"")
    except NotTextError:
        return TextFile((), ())


def _with_last_line(old: TextFile, new: TextFile, edits: Sequence[Edit]) -> Sequence[Edit]:
    """`edits`, and the last unchanged line as one more when it gains or loses its newline."""
    last = len(old.lines) - 1
    behind = len(edits)
    while behind and edits[behind - 1].stop == last + 1:
        behind -= 1
        last = edits[behind].start - 1
    at = last + sum(len(edit.lines) - (edit.stop - edit.start) for edit in edits[:behind])
    if last < 0 or old.endings[last] == new.endings[at]:
        return edits
    tail = edits[behind:]
    added = (old.lines[last], *(line for edit in tail for line in edit.lines))
    return (*edits[:behind], Edit(last, tail[-1].stop if tail else last + 1, added))


def _hunks(old: TextFile, new: TextFile, edits: Sequence[Edit]) -> Iterator[str]:
    shift = 0
    for group in _groups(edits):
        start = max(group[0].start - _CONTEXT, 0)
        stop = min(group[-1].stop + _CONTEXT, len(old.lines))
        body: list[str] = []
        at = start
        out = start + shift
        for edit in group:
            for i in range(at, edit.start):
                body += _line(" ", old, i)
            out += edit.start - at
            for i in range(edit.start, edit.stop):
                body += _line("-", old, i)
            for i in range(out, out + len(edit.lines)):
                body += _line("+", new, i)
            out += len(edit.lines)
            at = edit.stop
        for i in range(at, stop):
            body += _line(" ", old, i)
        out += stop - at
        yield f"@@ -{_range(start, stop)} +{_range(start + shift, out)} @@"
        yield from body
        shift = out - stop


def _groups(edits: Sequence[Edit]) -> Iterator[list[Edit]]:
    """Edits whose context meets are one hunk."""
    group: list[Edit] = []
    for edit in edits:
        if group and edit.start - group[-1].stop > 2 * _CONTEXT:
            yield group
            group = []
        group.append(edit)
    if group:
        yield group


def _line(marker: str, text: TextFile, at: int) -> list[str]:
    line = marker + text.lines[at]
    return [line] if text.endings[at] else [line, _NO_NEWLINE]


def _range(start: int, stop: int) -> str:
    """Lines `start`..`stop` (from 0) as a unified diff counts them."""
    length = stop - start
    return f"{start if not length else start + 1},{length}"
