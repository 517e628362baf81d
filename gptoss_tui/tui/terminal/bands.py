"""Pictures as rows of text, for terminals that paint a picture at the cursor and do not scroll it with the text.

A picture is cut into bands, one per row of text. In the conversation such a row is a run of a placeholder character
(the one of kitty's protocol), whose combining marks say which band it is, so Textual scrolls, crops and covers it like
any text. Only on the way to the terminal is a complete run replaced by blanks with the band painted over them. A run
that was cropped, or whose picture is no longer stored, becomes blanks. The placeholder itself is not sent.
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
"""The first of kitty's row and column marks, in kitty's order."""

_RUN: Final = re.compile(f"{PLACEHOLDER}([{MARKS}]*)({PLACEHOLDER}*)")
_DIGITS: Final = 3
_MOST: Final = 32 << 20
"""The maximum size of all stored bands, in characters; beyond it, the oldest pictures are dropped."""


class Bands:
    """The pictures given to a terminal, by number. Not thread-safe: add pictures and write in the same thread."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[int, tuple[int, tuple[str, ...]]] = OrderedDict()
        self._next = 0
        self._size = 0
        self._used = False

    def add(self, columns: int, bands: Sequence[str]) -> int:
        """Store a picture, as the sequence per row that paints it at the cursor. Returns the picture's number."""
        self._used = True
        number, self._next = self._next, (self._next + 1) % len(MARKS) ** _DIGITS
        self.put(number, columns, bands)
        return number

    def put(self, number: int, columns: int, bands: Sequence[str]) -> None:
        """Replace the bands of a picture."""
        self._drop(number)
        self._pictures[number] = columns, tuple(bands)
        self._size += sum(map(len, bands))
        while self._size > _MOST and len(self._pictures) > 1:
            self._drop(next(iter(self._pictures)))

    def fill(self, text: str) -> str:
        """`text` as it is sent to the terminal, with bands in place of their runs."""
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
    """The text that stands for row `row` of a picture."""
    digits = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, len(MARKS))
        digits.append(MARKS[digit])
    return PLACEHOLDER + MARKS[row] + "".join(reversed(digits)) + PLACEHOLDER * (columns - 1)
