"""Pictures in the conversation, where the terminal can draw them among text.

The protocol is kitty's, with Unicode placeholders: the picture is sent once and has a number; a row of it is then
ordinary text of one special character, whose colour is that number and whose marks are row and column. So a picture
scrolls, is cut off and is painted over like text. Other terminals get the path alone: iTerm's and sixel's pictures are
painted at the cursor and would stay behind when the conversation moves.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from random import SystemRandom
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.base import Block

if TYPE_CHECKING:
    from gptoss_tui.tools.base import Artefact
    from gptoss_tui.tui.theme import Palette

WIDTH = 64
"""Columns that a picture takes at most."""
INDENT = 3
MAX_BYTES = 8 << 20
MAX_ROWS = 24
_CHUNK = 4096
_PNG = b"\x89PNG\r\n\x1a\n"
_PLACEHOLDER = "\U0010eeee"
_CELL_ASPECT = 2.0
"""A cell is about twice as high as wide."""
_PIXELS_A_CELL = 8
_MARKS = (
    "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c\u0350\u0351\u0352\u0357"
    "\u035b\u0363\u0364\u0365\u0366\u0367\u0368\u0369\u036a\u036b\u036c\u036d\u036e\u036f\u0483\u0484"
)
"""The first of kitty's marks for rows and columns, in its order; a column follows from the one before it."""
_MULTIPLEXERS = ("TMUX", "STY", "ZELLIJ")
_NUMBERS = count(SystemRandom().randrange(1 << 16, 1 << 23))
"""Of pictures; other programs in the same terminal count from 1."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file that was read: its bytes, its size in pixels, and the number that the terminal knows it by."""

    data: bytes
    width: int
    height: int
    number: int

    def cells(self, width: int) -> tuple[int, int]:
        """Columns and rows that it takes in `width` columns: no larger than it is, in its proportions."""
        columns = max(1, min(width, -(-self.width // _PIXELS_A_CELL)))
        rows = round(columns * self.height / max(1, self.width) / _CELL_ASPECT)
        if rows > MAX_ROWS:
            columns, rows = max(1, columns * MAX_ROWS // rows), MAX_ROWS
        return columns, max(1, rows)


def can_draw(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal is one that is known to draw pictures in place of characters, with nothing in between."""
    if any(environ.get(name) for name in _MULTIPLEXERS):
        return False
    return bool(environ.get("KITTY_WINDOW_ID")) or environ.get("TERM") in ("xterm-kitty", "xterm-ghostty")


def read_picture(path: str, number: int) -> Picture | None:
    """The PNG at `path`; None for what is none, is no file of its own, or is too large."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(data) > MAX_BYTES or not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    return Picture(data, width, height, number) if width and height else None


def transmission(picture: Picture, columns: int, rows: int) -> Iterator[str]:
    """What sends it to the terminal, to be written as it is. Base64 holds nothing that a terminal obeys."""
    text = base64.standard_b64encode(picture.data).decode("ascii")
    pieces = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    for at, piece in enumerate(pieces):
        head = f"a=T,U=1,f=100,q=2,i={picture.number},c={columns},r={rows}," if at == 0 else "q=2,"
        yield f"\x1b_G{head}m={int(at + 1 < len(pieces))};{piece}\x1b\\"


def strips(picture: Picture, columns: int, rows: int) -> list[Strip]:
    """The rows that stand for it."""
    colour = Style(color=Color.from_triplet(_triplet(picture.number)))
    return [
        Strip([Segment(f"{_PLACEHOLDER}{_MARKS[row]}{_MARKS[0]}" + _PLACEHOLDER * (columns - 1), colour)], columns)
        for row in range(rows)
    ]


def _triplet(number: int) -> ColorTriplet:
    return ColorTriplet(number >> 16 & 255, number >> 8 & 255, number & 255)


class PictureBlock(Block):
    """A picture below the call that made it. Its path stands in the output of the call."""

    def __init__(self, picture: Picture, path: str) -> None:
        self.picture = picture
        self.columns, self.rows = picture.cells(WIDTH)
        self._path = path

    def render(self, width: int, palette: Palette) -> list[Strip]:
        indent = Segment(" " * INDENT)
        rows = strips(self.picture, min(self.columns, max(1, width - INDENT)), self.rows)
        return [Strip([indent, *row], row.cell_length + INDENT) for row in rows]

    def source(self) -> str:
        return self._path


@runtime_checkable
class Drawer(Protocol):
    """What has a terminal to write to."""

    def write_to_terminal(self, text: str) -> None:
        """Send a control sequence, where there is a terminal."""
        ...


def pictures(
    artefacts: Iterable[Artefact], app: object, environ: Mapping[str, str] = os.environ
) -> Iterator[PictureBlock]:
    """Blocks for those files that are pictures, after they were sent to the terminal; none where it draws none."""
    if not isinstance(app, Drawer) or not can_draw(environ):
        return
    for artefact in artefacts:
        picture = read_picture(artefact.path, next(_NUMBERS)) if artefact.mime == "image/png" else None
        if picture is not None:
            block = PictureBlock(picture, to_terminal_line(artefact.path))
            for piece in transmission(picture, block.columns, block.rows):
                app.write_to_terminal(piece)
            yield block
