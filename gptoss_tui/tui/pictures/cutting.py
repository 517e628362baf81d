"""Has a picture cut into bands, or re-encoded for kitty, in a separate process.

A figure comes out of a sandbox, so it is untrusted data: its decoder is limited in memory and time, and the decoder's
answer reaches the terminal only if it consists of Base64 or a sixel's own characters.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Final

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.child import end_child, start_child
from gptoss_tui.tui.pictures.picture import Picture
from gptoss_tui.tui.terminal.graphics import Graphics, Way

_SECONDS: Final = 20.0
_MOST: Final = 16 << 20
_COLOURS: Final = 256
_SIXEL: Final = re.compile(r'"1;1;\d{1,5};\d{1,5}[0-9#;!$?-~-]*')
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")


async def cut(picture: Picture, way: Way, graphics: Graphics, columns: int, rows: int) -> list[str] | None:
    """For each row of cells, the sequence that paints it from the cursor on. None when the picture cannot be read."""
    bands = await _made(picture, way, graphics, columns, rows)
    if bands is None or len(bands) != rows:
        return None
    return [_sixel(band) if way == "sixel" else _inline(band, columns) for band in bands]


async def anew(picture: Picture, columns: int, rows: int) -> str | None:
    """Re-encode the picture as a PNG in Base64, for a terminal that decodes it itself. None if it cannot be read.

    The original file may be crafted to break the terminal's decoder; the new one was written by our encoder.
    """
    made = await _made(picture, "kitty", Graphics(), columns, rows)
    return made[0] if made is not None and len(made) == 1 else None


async def _made(picture: Picture, way: Way, graphics: Graphics, columns: int, rows: int) -> list[str] | None:
    """The output of the process. None unless it is a list of strings in the format that `way` requires."""
    colours = min(graphics.colours or _COLOURS, _COLOURS)
    request = {"way": way, "columns": columns, "rows": rows, "cell": graphics.cell, "colours": colours}
    try:
        bands = json.loads(await _ask(json.dumps(request).encode(), picture.data))
    except (ToolError, OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
        return None
    form = _SIXEL if way == "sixel" else _BASE64
    if not isinstance(bands, list) or not all(isinstance(band, str) and form.fullmatch(band) for band in bands):
        return None
    return bands


def _sixel(band: str) -> str:
    """A sixel sequence that leaves other pixels alone: a band ends with the cell, rarely on a multiple of six rows."""
    return f"\x1bP0;1;0q{band}\x1b\\"


def _inline(band: str, columns: int) -> str:
    """An inline image in iTerm2's protocol, scaled to its size in cells, whatever its size in pixels."""
    size = len(band) * 3 // 4 - band.count("=")
    how = f"inline=1;size={size};width={columns};height=1;preserveAspectRatio=0;doNotMoveCursor=1"
    return f"\x1b]1337;File={how}:{band}\x07"


async def _ask(request: bytes, data: bytes) -> bytes:
    """Ask the process for its answer. Raises ToolError, OSError, TimeoutError, IncompleteReadError, ValueError."""
    process = await start_child("gptoss_tui.tui.pictures.cutter")
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_SECONDS):
            with contextlib.suppress(ConnectionError):  # a process that ended early fails the read below
                process.stdin.write(len(request).to_bytes(4, "big") + request + data)
                await process.stdin.drain()
            process.stdin.close()
            size = int.from_bytes(await process.stdout.readexactly(4), "big")
            if size > _MOST:
                raise ValueError("too long an answer")
            return await process.stdout.readexactly(size)
    finally:
        await end_child(process)
