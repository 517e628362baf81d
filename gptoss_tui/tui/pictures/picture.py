"""A picture file, and how many cells it needs."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 64
"""The maximum width of a picture, in columns."""
MAX_ROWS: Final = 24
MAX_BYTES: Final = 8 << 20
MAX_PIXELS: Final = 32 << 20
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_CELL_ASPECT: Final = 2.0
"""The assumed height of a cell relative to its width, if the terminal does not tell."""
_PIXELS_A_CELL: Final = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file: its bytes, and its size in pixels according to its header."""

    data: bytes
    width: int
    height: int

    def cells(self, width: int, cell: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """The size in columns and rows, within `width` columns: not enlarged, with its proportions kept.

        `cell` is the width and height of a cell in pixels, (0, 0) if unknown.
        """
        aspect = cell[1] / cell[0] if all(cell) else _CELL_ASPECT
        columns = max(1, min(width, -(-self.width // _PIXELS_A_CELL)))
        rows = round(columns * self.height / max(1, self.width) / aspect)
        if rows > MAX_ROWS:
            columns, rows = max(1, columns * MAX_ROWS // rows), MAX_ROWS
        return columns, max(1, rows)


def read_picture(path: str) -> Picture | None:
    """Read the PNG at `path`; None if it is no PNG, not a regular file (or a symbolic link), or too large."""
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
