"""A picture in a file, and how many cells it takes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 64
"""Columns that a picture takes at most."""
MAX_ROWS: Final = 24
MAX_BYTES: Final = 8 << 20
MAX_PIXELS: Final = 32 << 20
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_CELL_ASPECT: Final = 2.0
"""A cell of a terminal that does not say is about twice as high as wide."""
_PIXELS_A_CELL: Final = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file that was read: its bytes, and its size in pixels as it says itself."""

    data: bytes
    width: int
    height: int

    def cells(self, width: int, cell: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """Columns and rows in at most `width` columns: no larger than it is, in its proportions.

        `cell` is the width and height of one in pixels, (0, 0) where nobody knows.
        """
        aspect = cell[1] / cell[0] if all(cell) else _CELL_ASPECT
        columns = max(1, min(width, -(-self.width // _PIXELS_A_CELL)))
        rows = round(columns * self.height / max(1, self.width) / aspect)
        if rows > MAX_ROWS:
            columns, rows = max(1, columns * MAX_ROWS // rows), MAX_ROWS
        return columns, max(1, rows)


def read_picture(path: str) -> Picture | None:
    """The PNG at `path`; None for what is none, is no file of its own, or is too large."""
    how = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | how)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(data) > MAX_BYTES or not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    return Picture(data, width, height) if 0 < width * height <= MAX_PIXELS else None
