"""What Vim's commands do to a text: the piece that is replaced, where the cursor is then, and what was taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gptoss_tui.tui.vim.command import Command
from gptoss_tui.tui.vim.motions import (
    Motion,
    Span,
    first_letter,
    kind_at,
    line_end,
    line_start,
    next_word,
    rows_on,
    text_object,
    word_end,
)


@dataclass(frozen=True, slots=True)
class Register:
    """Text that was taken; `lines` if it is whole lines, whose last newline is left out."""

    text: str = ""
    lines: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Replace `start` to `end` by `text` and put the cursor at `cursor`, an offset into the new text.

    `insert` if the user goes on typing there; `taken` is None if the register stays as it is.
    """

    start: int
    end: int
    text: str
    cursor: int
    insert: bool = False
    taken: Register | None = None

    @property
    def edits(self) -> bool:
        """Whether the text may change."""
        return bool(self.text) or self.start != self.end

    def applied(self, text: str) -> str:
        """`text` after the change."""
        return text[: self.start] + self.text + text[self.end :]


@dataclass(frozen=True, slots=True)
class Area:
    """The text that an operator works on; the end is not part of it. `lines` if it is whole lines.

    `first` is where the cursor goes if the text is only copied.
    """

    start: int
    end: int
    first: int
    lines: bool = False


_SHORT = {"x": "dl", "X": "dh", "D": "d$", "C": "c$", "s": "cl", "S": "cc", "Y": "yy"}
SHORT = {key: (keys[0], keys[1]) for key, keys in _SHORT.items()}
"""Commands that stand for an operator with a motion."""


def area_of_motion(command: Command, motion: Motion, text: str, at: int) -> Area:
    """The text between the cursor and the end of a motion, as an operator takes it."""
    end = motion.end
    if command.name in ("w", "W"):
        motion = _of_words(command, text, at)
        end = motion.end
    first, last = sorted((at, end))
    if motion.kind == "lines":
        return Area(line_start(text, first), line_end(text, last), first, lines=True)
    if motion.kind == "inclusive":
        last = min(last + 1, len(text))
    elif command.name != "$" and "\n" in text[first:last] and last == line_start(text, last):
        last -= 1  # as in Vim: a motion that ends at the start of a line leaves the newline before it
        if not text[line_start(text, first) : first].strip():
            return Area(line_start(text, first), last, first, lines=True)
    outside = text[line_start(text, first) : first] + text[last : line_end(text, last)]
    if command.operator == "d" and "\n" in text[first:last] and not outside.strip():
        return Area(line_start(text, first), line_end(text, last), first, lines=True)
    return Area(first, last, first)


def _of_words(command: Command, text: str, at: int) -> Motion:
    """`w` with an operator: a change keeps the blanks behind the word, and the last newline stays."""
    big, count = command.name == "W", command.count or 1
    if command.operator == "c" and kind_at(text, at, big):
        end = word_end(text, at - 1, big)
        for _ in range(count - 1):
            end = word_end(text, end, big)
        return Motion(end, "inclusive")
    end = at
    for _ in range(count - 1):
        end = next_word(text, end, big)
    return Motion(next_word(text, end, big, in_line=True))


def area_of_lines(text: str, at: int, count: int) -> Area | None:
    """`count` lines from the one at `at` on, or as many as there are; None if several are wanted on the last line."""
    last = rows_on(text, at, count - 1)
    return None if last is None else Area(line_start(text, at), line_end(text, last), at, lines=True)


def area_of_object(command: Command, text: str, at: int) -> Area | None:
    """The text of an object such as `iw`; None if there is none here."""
    span = text_object(command.name, text, at, command.count or 1)
    return None if span is None else Area(*span, first=span[0])


def operate(operator: str, text: str, at: int, area: Area, whole: Sequence[Span] = ()) -> Change:
    """Delete, change or copy an area. Spans in `whole` are taken as a whole or not at all."""
    start, end = _widened(area.start, area.end, whole)
    taken = Register(text[start:end], area.lines)
    if operator == "y":
        return Change(at, at, "", min(area.first, start) if not area.lines else area.first, taken=taken)
    if operator == "c":
        return Change(start, end, "", start, insert=True, taken=taken)
    if not area.lines:
        return Change(start, end, "", start, taken=taken)
    if end < len(text):
        end += 1
    elif start:
        start -= 1
    left = text[:start] + text[end:]
    return Change(start, end, "", first_letter(left, min(area.start, len(left))), taken=taken)


def _widened(start: int, end: int, whole: Sequence[Span]) -> Span:
    for first, last in whole:
        if start < last and first < end:
            start, end = min(start, first), max(end, last)
    return start, end


def put(name: str, text: str, at: int, register: Register, count: int, whole: Sequence[Span] = ()) -> Change | None:
    """Insert the register behind (`p`) or before (`P`) the cursor."""
    if not register.text and not register.lines:
        return None
    if register.lines:
        new = "\n".join([register.text] * count)
        if name == "P":
            start = line_start(text, at)
            return _at_letter(Change(start, start, f"{new}\n", start), text)
        end = line_end(text, at)
        return _at_letter(Change(end, end, f"\n{new}", end + 1), text)
    start = _behind(text, at, whole) if name == "p" else at
    new = register.text * count
    return Change(start, start, new, start if "\n" in register.text else start + len(new) - 1)


def _behind(text: str, at: int, whole: Sequence[Span]) -> int:
    """The place behind the character at the cursor, or behind the span that it begins."""
    behind = min(at + 1, line_end(text, at))
    return next((last for first, last in whole if first < behind < last), behind)


def _at_letter(change: Change, text: str) -> Change:
    """`change` with the cursor at the first letter of its line."""
    cursor = first_letter(change.applied(text), change.cursor)
    return Change(change.start, change.end, change.text, cursor)


def replace_characters(text: str, at: int, character: str, count: int, whole: Sequence[Span]) -> Change | None:
    """`r`: replace `count` characters; None if the line has fewer of them."""
    if at + count > line_end(text, at) or any(at < last and first < at + count for first, last in whole):
        return None
    return Change(at, at + count, character * count, at + count - 1)


_CASES: dict[str, Callable[[str], str]] = {"~": str.swapcase, "u": str.lower, "U": str.upper}


def change_case(name: str, text: str, area: Area, cursor: int, whole: Sequence[Span]) -> Change | None:
    """`~`, and while text is selected `u` and `U`; spans in `whole` stay as they are."""
    if area.start == area.end:
        return None
    new, at, convert = "", area.start, _CASES[name]
    for first, last in [*(span for span in whole if span[0] < area.end and area.start < span[1]), (area.end, area.end)]:
        stop = min(last, area.end)
        new += convert(text[at : max(at, first)]) + text[max(at, first) : stop]
        at = stop
    return Change(area.start, area.end, new, cursor)


def join(text: str, at: int, count: int) -> Change | None:
    """`J`: join `count` lines with a blank each; None if there is no line to join."""
    area = area_of_lines(text, at, max(2, count))
    if area is None:
        return None
    first, *others = text[area.start : area.end].split("\n")
    cursor = area.start + len(first)
    for line in others:
        added = line.lstrip()
        cursor = area.start + len(first)
        blank = "" if not added or not first or first[-1:].isspace() or added.startswith(")") else " "
        first += blank + added
    return Change(area.start, area.end, first, cursor)


def begin_insert(name: str, text: str, at: int, whole: Sequence[Span] = ()) -> Change:
    """`i`, `a`, `I`, `A`, `o` and `O`."""
    start, end = line_start(text, at), line_end(text, at)
    match name:
        case "a":
            at = _behind(text, at, whole)
        case "I":
            at = start + len(text[start:end]) - len(text[start:end].lstrip())
        case "A":
            at = end
        case "o":
            return Change(end, end, "\n", end + 1, insert=True)
        case "O":
            return Change(start, start, "\n", start, insert=True)
    return Change(at, at, "", at, insert=True)
