"""Indentation of added lines when a hunk matched its block but for indentation: it follows the file, not the patch."""

from __future__ import annotations

from collections.abc import Sequence

from gptoss_tui.patch.lines import indent_of


def reindent(old: Sequence[str], found: Sequence[str], added: Sequence[str]) -> list[str]:
    """`added` with the indentation that `old` has in the file, where it stands as `found`.

    Lines whose shift cannot be told stay as they are.
    """
    pairs = [(indent_of(a), indent_of(b)) for a, b in zip(old, found, strict=True) if a.strip() and b.strip()]
    known: dict[str, str] = {}
    for ours, theirs in pairs:
        if known.setdefault(ours, theirs) != theirs:
            return list(added)
    shift = _common_shift(pairs)
    return [_shifted(line, known, shift, _tab_width(pairs)) for line in added]


def _common_shift(pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """`(removed, put)` in front of every line, when it is the same for all."""
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
    """How many spaces of the patch are one tab of the file; None when it is not that."""
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
