"""kitty's graphics protocol: a picture is sent once with a number, then shown by placeholder text in that colour."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import SystemRandom
from typing import Final

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style

from gptoss_tui.tui.terminal.bands import MARKS, PLACEHOLDER

_CHUNK: Final = 4096
_NUMBERS: Final = count(SystemRandom().randrange(1 << 16, 1 << 23))
"""Picture numbers, from a random start, because other programs in the same terminal count from 1."""


def next_number() -> int:
    """A number that no other picture in this terminal has."""
    return next(_NUMBERS)


def transmission(text: str, number: int, columns: int, rows: int) -> Iterator[str]:
    """The sequences that send a PNG in Base64, to be written as they are. Base64 contains no control characters."""
    pieces = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    for at, piece in enumerate(pieces):
        head = f"a=T,U=1,f=100,q=2,i={number},c={columns},r={rows}," if at == 0 else "q=2,"
        yield f"\x1b_G{head}m={int(at + 1 < len(pieces))};{piece}\x1b\\"


def row(number: int, at: int, columns: int) -> Segment:
    """The placeholder for row `at` of a picture; with fewer columns than were sent, the right side is cut off."""
    colour = Color.from_triplet(ColorTriplet(number >> 16 & 255, number >> 8 & 255, number & 255))
    return Segment(f"{PLACEHOLDER}{MARKS[at]}{MARKS[0]}" + PLACEHOLDER * (columns - 1), Style(color=colour))
