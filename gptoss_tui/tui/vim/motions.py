"""Where Vim's motions lead and which text its objects cover, as offsets into a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["exclusive", "inclusive", "lines"]


@dataclass(frozen=True, slots=True)
class Motion:
    """The end of a motion. `kind` is how an operator takes it: without its last character, with it, or whole lines."""

    end: int
    kind: Kind = "exclusive"


Span = tuple[int, int]
"""The start and the end of a piece of text; the end is not part of it."""

BRACKETS = {closing: pair for pair in ("()", "[]", "{}", "<>") for closing in pair} | {"b": "()", "B": "{}"}
QUOTES = "\"'`"


def line_start(text: str, at: int) -> int:
    """The start of the line that contains `at`."""
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """The end of the line that contains `at`: its newline, or the end of the text."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def last_place(text: str, at: int) -> int:
    """The last place for the cursor on the line of `at`: its last character, or its start if it is empty."""
    return max(line_start(text, at), line_end(text, at) - 1)


def first_letter(text: str, at: int) -> int:
    """The first character of the line that is not blank, or the last place of a blank line."""
    start, end = line_start(text, at), line_end(text, at)
    indent = len(text[start:end]) - len(text[start:end].lstrip())
    return min(start + indent, last_place(text, at))


def row_of(text: str, at: int) -> int:
    """The number of the line that contains `at`, from 0."""
    return text.count("\n", 0, at)


def start_of_row(text: str, row: int) -> int:
    """The start of a line; of the last one if there are fewer lines."""
    start = 0
    for _ in range(row):
        found = text.find("\n", start)
        if found < 0:
            break
        start = found + 1
    return start


def next_word(text: str, at: int, big: bool, *, in_line: bool = False) -> int:
    """The start of the next word; an empty line counts as a word. The end of the text if there is none.

    With `in_line`, the last word of a line leads to the end of the line: an operator leaves the newline alone.
    """
    kind, start = kind_at(text, at, big), at
    while kind and kind_at(text, at, big) == kind:
        at += 1
    while at < len(text) and not kind_at(text, at, big):
        at += 1
        if _is_empty_line(text, at):
            break
    return min(at, line_end(text, start)) if in_line else at


def word_before(text: str, at: int, big: bool) -> int:
    """The start of the word before `at`; an empty line counts as a word."""
    at = max(0, at - 1)
    while at and not kind_at(text, at, big) and not _is_empty_line(text, at):
        at -= 1
    kind = kind_at(text, at, big)
    while kind and at and kind_at(text, at - 1, big) == kind:
        at -= 1
    return at


def word_end(text: str, at: int, big: bool) -> int:
    """The last character of the word that ends after `at`."""
    at += 1
    while at < len(text) and not kind_at(text, at, big):
        at += 1
    kind = kind_at(text, at, big)
    while at + 1 < len(text) and kind_at(text, at + 1, big) == kind:
        at += 1
    return min(at, last_place(text, len(text)))


def find_character(text: str, at: int, how: str, character: str, count: int, *, again: bool = False) -> int | None:
    """The place that `f`, `t`, `F` or `T` lead to on this line; `again` for repeats, which do not stay in place."""
    start, end = line_start(text, at), line_end(text, at)
    forward, till = how in "ft", how in "tT"
    place = at + (till and again) * (1 if forward else -1)
    for _ in range(count):
        place = text.find(character, place + 1, end) if forward else text.rfind(character, start, max(start, place))
        if place < 0:
            return None
    return place - till if forward else place + till


def move(name: str, text: str, at: int, count: int | None) -> Motion | None:
    """Where the motion `name` leads; None if there is no such motion, or if it leads nowhere."""
    if name in _STEPS:
        step, kind = _STEPS[name]
        end = at
        for _ in range(count or 1):
            end = step(text, end, name.isupper())
        return None if end == at and name in "bB" else Motion(end, kind)
    match name:
        case "h":
            return Motion(max(line_start(text, at), at - (count or 1)))
        case "l":
            return Motion(min(line_end(text, at), at + (count or 1)))
        case "0":
            return Motion(line_start(text, at))
        case "^":
            return Motion(first_letter(text, at))
        case "$":
            line = rows_on(text, at, (count or 1) - 1)
            return None if line is None else Motion(line_end(text, line))
        case "gg" | "G":
            last = text.count("\n")
            wanted = last if name == "G" else 0
            return Motion(
                first_letter(text, start_of_row(text, min(last, wanted if count is None else count - 1))), "lines"
            )
        case "j" | "k":
            line = rows_on(text, at, (count or 1) * (1 if name == "j" else -1))
            column = at - line_start(text, at)
            return None if line is None else Motion(min(line + column, line_end(text, line)), "lines")
    return None


def rows_on(text: str, at: int, step: int) -> int | None:
    """The start of the line `step` lines on, or of the last one in this direction; None if there is none."""
    row, last = row_of(text, at), text.count("\n")
    if (step > 0 and row == last) or (step < 0 and not row):
        return None
    return start_of_row(text, min(last, max(0, row + step)))


def text_object(name: str, text: str, at: int, count: int = 1) -> Span | None:
    """The text that an object such as `iw` or `a"` covers; None if there is no such object here."""
    around, what = name[0] == "a", name[1]
    if what in "wW":
        first = found = _word(text, at, what == "W", around=around)
        for _ in range(count - 1):
            if found is not None and found[1] < line_end(text, at):
                found = _word(text, found[1], what == "W", around=around)
        return None if first is None or found is None else (first[0], found[1])
    if what in QUOTES:
        return _quoted(text, at, what, around=around)
    if what in BRACKETS:
        return _bracketed(text, at, BRACKETS[what], around=around)
    return None


def _word(text: str, at: int, big: bool, *, around: bool) -> Span | None:
    start, end = line_start(text, at), line_end(text, at)
    if start == end:
        return start, end

    def run(place: int) -> Span:
        """The characters of one kind around `place`."""
        kind, first, last = kind_at(text, place, big), place, place
        while first > start and kind_at(text, first - 1, big) == kind:
            first -= 1
        while last < end and kind_at(text, last, big) == kind:
            last += 1
        return first, last

    first, last = run(min(at, end - 1))
    if around and last < end and (not kind_at(text, first, big) or not kind_at(text, last, big)):
        last = run(last)[1]  # a blank takes the word behind it, a word the blank
    elif around and first > start and not kind_at(text, first - 1, big):
        blank = run(first - 1)[0]
        first = blank if blank > start else first  # an indentation stays
    return first, last


def _quoted(text: str, at: int, quote: str, *, around: bool) -> Span | None:
    """The string at the cursor, or the next one on its line."""
    start, end = line_start(text, at), line_end(text, at)
    places = [place for place in range(start, end) if text[place] == quote and not _is_escaped(text, place, start)]
    pairs = zip(places[::2], places[1::2], strict=False)
    found = next(((first, last) for first, last in pairs if at <= last), None)
    if found is None:
        return None
    first, last = found
    if not around:
        return first + 1, last
    after = last + 1
    while after < end and text[after] in " \t":
        after += 1
    while after == last + 1 and first > start and text[first - 1] in " \t":
        first -= 1
    return first, after


def _is_escaped(text: str, at: int, start: int) -> bool:
    before = text[start:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _bracketed(text: str, at: int, pair: str, *, around: bool) -> Span | None:
    opening, closing = pair[0], pair[1]
    first = _unmatched(text, at if text[at : at + 1] != closing else at - 1, -1, opening, closing)
    if first is None:
        first = text.find(opening, at)  # no block here: the next one
    if first < 0:
        return None
    last = _unmatched(text, first + 1, 1, closing, opening)
    if last is None:
        return None
    return (first, last + 1) if around else (first + 1, last)


def _unmatched(text: str, at: int, step: int, wanted: str, other: str) -> int | None:
    """The first `wanted` in this direction that belongs to no `other` in between."""
    depth = 0
    while 0 <= at < len(text):
        if text[at] == wanted and not depth:
            return at
        depth += (text[at] == other) - (text[at] == wanted)
        at += step
    return None


def kind_at(text: str, at: int, big: bool) -> int:
    """0 for a blank and the end of the text, 1 for letters and the like, 2 for others; `big` words have both."""
    if at >= len(text) or text[at].isspace():
        return 0
    return 1 if big or text[at].isalnum() or text[at] == "_" else 2


def _is_empty_line(text: str, at: int) -> bool:
    return line_start(text, at) == at == line_end(text, at)


_STEPS: dict[str, tuple[Callable[[str, int, bool], int], Kind]] = {
    "w": (next_word, "exclusive"),
    "W": (next_word, "exclusive"),
    "b": (word_before, "exclusive"),
    "B": (word_before, "exclusive"),
    "e": (word_end, "inclusive"),
    "E": (word_end, "inclusive"),
}
