"""Adapts the indentation of added lines to the file when a hunk matched except for its indentation."""

from __future__ import annotations

from collections.abc import Sequence

from gptoss_tui.patch.lines import indent_of


def reindent(old: Sequence[str], found: Sequence[str], added: Sequence[str]) -> list[str]:
    """Indent `added` as the file does: the patch's lines `old` appear there as `found`.

    Lines whose shift cannot be determined stay as they are.
    """
    pairs = [(indent_of(a), indent_of(b)) for a, b in zip(old, found, strict=True) if a.strip() and b.strip()]
    known: dict[str, str] = {}
    for ours, theirs in pairs:
        if known.setdefault(ours, theirs) != theirs:
            return list(added)
    shift = _common_shift(pairs)
    return [_shifted(line, known, shift, _tab_width(pairs)) for line in added]


def _common_shift(pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The prefixes `(removed, added)` in front of every line, if they are the same for all; else None."""
    shifts = set()
    for ours, theirs in pairs:
        if theirs.endswith(ours):
            shifts.add(("", theirs[: len(theirs) - len(ours)]))
        elif ours.endswith(theirs):
            shifts.add((ours[: len(ours) - len(theirs)], ""))
        else:
            return None
    return shifts.pop() if len(shifts) == 1 else None


def _tab_width(pairs: Sequence[tuple[str, str]]) -> int | None:
    """How many spaces in the patch correspond to one tab in the file; None if that is not the difference."""
    widths = set()
    for ours, theirs in pairs:
        if not ours and not theirs:
            continue
        if ours.strip(" ") or theirs.strip("\t") or not theirs or len(ours) % len(theirs):
            return None
        widths.add(len(ours) // len(theirs))
    return widths.pop() if len(widths) == 1 and 0 not in widths else None


def _shifted(line: str, known: dict[str, str], shift: tuple[str, str] | None, width: int | None) -> str:
    if not line.strip():
        return line
    indent = indent_of(line)
    rest = line[len(indent) :]
    if indent in known:
        return known[indent] + rest
    if shift is not None and indent.startswith(shift[0]):
        return shift[1] + line[len(shift[0]) :]
    if width and not indent.strip(" "):
        tabs, blanks = divmod(len(indent), width)
        return "\t" * tabs + " " * blanks + rest
    return line
