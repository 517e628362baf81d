"""Pictures as rows of text, for terminals that paint a picture at the cursor and know nothing of scrolling.

A picture is cut into bands, one a row of text. In the conversation such a row is a run of one placeholder character,
as kitty has it, whose marks say which band it is. So the toolkit scrolls, cuts and covers it as it does text. Only on
its way to the terminal a whole run becomes blanks with the band painted over them, and a run that was cut, or that
nobody knows any more, becomes blanks. A terminal is never sent the placeholder itself.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

PLACEHOLDER: Final = "\U0010eeee"
MARKS: Final = (
    "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c\u0350\u0351\u0352\u0357"
    "\u035b\u0363\u0364\u0365\u0366\u0367\u0368\u0369\u036a\u036b\u036c\u036d\u036e\u036f\u0483\u0484"
)
"""The first of kitty's marks for rows and columns, in its order."""

_RUN: Final = re.compile(f"{PLACEHOLDER}([{MARKS}]*)({PLACEHOLDER}*)")
_DIGITS: Final = 3
_MOST: Final = 32 << 20
"""Characters of all bands that are kept; the pictures that were added first are forgotten first."""


class Bands:
    """The pictures that a terminal was given, by number. One thread adds them, the same one writes."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[int, tuple[int, tuple[str, ...]]] = OrderedDict()
        self._next = 0
        self._size = 0
        self._used = False

    def add(self, columns: int, bands: Sequence[str]) -> int:
        """Keep a picture of so many columns: for each row what paints it from the cursor on. Gives its number."""
        self._used = True
        number, self._next = self._next, (self._next + 1) % len(MARKS) ** _DIGITS
        self.put(number, columns, bands)
        return number

    def put(self, number: int, columns: int, bands: Sequence[str]) -> None:
        """Other bands for a picture."""
        self._drop(number)
        self._pictures[number] = columns, tuple(bands)
        self._size += sum(map(len, bands))
        while self._size > _MOST and len(self._pictures) > 1:
            self._drop(next(iter(self._pictures)))

    def fill(self, text: str) -> str:
        """`text` as it goes to the terminal: bands in the place of their runs."""
        return _RUN.sub(self._painted, text) if self._used and PLACEHOLDER in text else text

    def _drop(self, number: int) -> None:
        _, bands = self._pictures.pop(number, (0, ()))
        self._size -= sum(map(len, bands))

    def _painted(self, run: re.Match[str]) -> str:
        width, marks = 1 + len(run[2]), [MARKS.index(mark) for mark in run[1]]
        blanks = " " * width
        if len(marks) != 1 + _DIGITS:
            return blanks
        row, number = marks[0], 0
        for digit in marks[1:]:
            number = number * len(MARKS) + digit
        columns, bands = self._pictures.get(number, (0, ()))
        if columns != width or row >= len(bands):
            return blanks
        return f"{blanks}\x1b7\x1b[{width}D{bands[row]}\x1b8"


def run(number: int, row: int, columns: int) -> str:
    """The text that stands for a row of a picture."""
    digits = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, len(MARKS))
        digits.append(MARKS[digit])
    return PLACEHOLDER + MARKS[row] + "".join(reversed(digits)) + PLACEHOLDER * (columns - 1)
