"""Explains why a hunk was refused, so that the model can correct it: which hunk, what the file has, what to resend."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

from gptoss_tui.patch.lines import LOOK_ALIKE, MAX_HITS, LineIndex, fold
from gptoss_tui.patch.types import Hunk

_SHOWN = 8
_SCANNED = 2000
_CLOSE = 0.6
_WIDTH = 200


def _where(hunk: Hunk) -> str:
    return f"Hunk {hunk.number} (patch line {hunk.patch_line})"


def numbered(lines: Sequence[str], start: int, stop: int) -> str:
    """Render lines `start`..`stop` (from 0) of a file with their numbers (from 1); long lines are cut."""
    stop = min(stop, len(lines))
    width = len(str(stop))
    return "\n".join(
        f"{i + 1:>{width}}| {line if len(line) <= _WIDTH else line[:_WIDTH] + '…'}"
        for i, line in enumerate(lines[start:stop], start)
    )


def ambiguous(hunk: Hunk, hits: Sequence[int], lines: Sequence[str]) -> str:
    """Error: the lines of the hunk occur at several places."""
    count = f"{len(hits)} or more" if len(hits) >= MAX_HITS else str(len(hits))
    shown = ", ".join(str(hit + 1) for hit in hits[:_SHOWN]) + (", …" if len(hits) > _SHOWN else "")
    return (
        f"{_where(hunk)} fits {count} places, at lines {shown} of {len(lines)}. "
        "Send it again with more unchanged lines around the change, or with a line '@@ ' and the text of a line above "
        "the right place."
    )


def only_additions(hunk: Hunk) -> str:
    """Error: the hunk does not say where its lines go."""
    return (
        f"{_where(hunk)} only adds lines, so their place is not known. Send it again with an unchanged line before or "
        "after them, with '@@ ' and the text of the line above them, or with '*** End of File' below them."
    )


def overlapping(hunk: Hunk, line: int) -> str:
    """Error: two hunks change the same lines."""
    return f"{_where(hunk)} changes line {line + 1}, which an earlier hunk changes already. Make one hunk of them."


def header_missing(hunk: Hunk, header: str, lines: Sequence[str]) -> str:
    """Error: the text of an `@@` line is not in the file, or not inside the block of the `@@` line above it."""
    level = hunk.headers.index(header)
    place = f"inside '{hunk.headers[level - 1]}'" if level else "of the file"
    near = _closest_line(header, lines)
    shown = f" The nearest line of the file is:\n{numbered(lines, near, near + 1)}" if near is not None else ""
    return (
        f"{_where(hunk)}: no line {place} is '{header}' (from its @@ line).{shown}\n"
        "Send it again with the text of an existing line after @@, or with @@ alone and enough unchanged lines."
    )


def not_found(hunk: Hunk, index: LineIndex) -> str:
    """Error: the old lines of the hunk are not in the file."""
    wanted = "\n".join(f"{line.kind}{line.text}" for line in hunk.lines if line.kind != "+")
    parts = [f"{_where(hunk)}: these lines are not in the file:", shown_lines(wanted.split("\n"))]
    new = hunk.new
    changed = [line for line in hunk.lines if line.kind == "+"]
    if changed and new and (hits := index.find(LOOK_ALIKE, new, 0, len(index.lines))):
        parts.append(f"But its new lines are there already, at line {hits[0] + 1}: it seems to be applied before.")
        return "\n".join(parts)
    return "\n".join((*parts, nearest_place(hunk.old, index, "the hunk")))


def nearest_place(old: Sequence[str], index: LineIndex, what: str) -> str:
    """Show the part of the file that is most similar to `old`, and ask the model to send `what` again."""
    near = _nearest(old, index)
    if near is None:
        return f"Nothing like them is in its {len(index.lines)} lines. Read the file, then send {what} again."
    start, stop = max(near - 1, 0), near + min(len(old), _SHOWN) + 1
    parts = [f"The nearest place in the file is:\n{numbered(index.lines, start, stop)}"]
    pairs = zip(old, index.lines[near:], strict=False)
    first = next((n for n, (ours, theirs) in enumerate(pairs, near) if fold(ours) != fold(theirs)), None)
    if first is not None:
        parts.append(f"The first difference is at line {first + 1}.")
    parts.append(f"Send {what} again with the lines exactly as they are in the file.")
    return "\n".join(parts)


def shown_lines(lines: Sequence[str]) -> str:
    """Render `lines` for a message, limited in number and length."""
    shown = [line if len(line) <= _WIDTH else line[:_WIDTH] + "…" for line in lines[:_SHOWN]]
    return "\n".join((*shown, f"… ({len(lines) - _SHOWN} more)") if len(lines) > _SHOWN else shown)


def _nearest(old: Sequence[str], index: LineIndex) -> int | None:
    """The line of the file at which most lines of `old` would match; None if nothing is similar."""
    votes: Counter[int] = Counter()
    for offset, line in enumerate(old[:_SCANNED]):
        if line.strip():
            votes.update(hit - offset for hit in index.positions(LOOK_ALIKE, line))
    if votes:
        best = max(votes.values())
        return max(0, min(at for at, count in votes.items() if count == best))
    longest = max(range(len(old)), key=lambda i: len(old[i].strip()))
    near = _closest_line(old[longest], index.lines)
    return None if near is None else max(0, near - longest)


def _closest_line(wanted: str, lines: Sequence[str]) -> int | None:
    """The line most similar to `wanted` among the first `_SCANNED`; None if none is similar enough."""
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(fold(wanted)[:_WIDTH])
    best, best_ratio = None, _CLOSE
    for at, line in enumerate(lines[:_SCANNED]):
        matcher.set_seq1(fold(line)[:_WIDTH])
        if matcher.real_quick_ratio() > best_ratio and matcher.quick_ratio() > best_ratio:
            ratio = matcher.ratio()
            if ratio > best_ratio:
                best, best_ratio = at, ratio
    return best
