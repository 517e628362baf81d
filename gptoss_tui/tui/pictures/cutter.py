"""The process that cuts one picture into bands: `python -m gptoss_tui.tui.pictures.cutter`.

It reads from stdin the length of a request in four bytes (big-endian), the request as JSON, and a PNG. It writes to
stdout the length of the answer in four bytes, and a JSON list with one string per row of cells: a sixel's data or a
PNG in Base64. It exits after one picture.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from gptoss_tui.tools.bounds import limit_this

if TYPE_CHECKING:
    from PIL.Image import Image

_CELL_PIXELS: Final = (20, 40)
"""At most this many pixels are sent for a cell of unknown size."""
_KITTY_PIXELS: Final = (40, 80)
"""kitty scales the picture down itself, and up again when the font size grows."""
_SIX: Final = 6
_NOTHING: Final = bytes(256)
_REPEATED: Final = re.compile(r"(.)\1{3,}")


def main() -> None:
    """Cut the picture on stdin."""
    limit_this()
    data = sys.stdin.buffer.read()
    length = int.from_bytes(data[:4], "big")
    answer = json.dumps(bands(data[4 + length :], **json.loads(data[4 : 4 + length]))).encode()
    sys.stdout.buffer.write(len(answer).to_bytes(4, "big") + answer)


def bands(data: bytes, *, way: str, columns: int, rows: int, cell: tuple[int, int], colours: int) -> list[str]:
    """One string per row of cells; for kitty, one for the whole picture, reduced to its pixels."""
    from PIL import Image

    picture = Image.open(io.BytesIO(data), formats=("PNG",))
    if way == "kitty":
        picture.thumbnail((columns * _KITTY_PIXELS[0], rows * _KITTY_PIXELS[1]), Image.Resampling.LANCZOS)
        return [_png(Image.frombytes("RGBA", picture.size, picture.convert("RGBA").tobytes()))]
    if way == "sixel":
        width, height = columns * cell[0], cell[1]
    else:
        width = min(picture.width, columns * _CELL_PIXELS[0])
        height = max(1, min(-(-picture.height // rows), _CELL_PIXELS[1]))
    whole = _flat(picture).resize((width, rows * height), Image.Resampling.LANCZOS)
    few = whole.quantize(colours, dither=Image.Dither.NONE)
    pieces = (few.crop((0, row * height, width, (row + 1) * height)) for row in range(rows))
    return [sixel(piece) if way == "sixel" else _png(piece) for piece in pieces]


def _flat(picture: Image) -> Image:
    """Flatten the picture onto white, like paper."""
    from PIL import Image

    seen = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _png(piece: Image) -> str:
    file = io.BytesIO()
    piece.save(file, "PNG", optimize=True)
    return base64.standard_b64encode(file.getvalue()).decode("ascii")


def sixel(piece: Image) -> str:
    """Encode an image with a palette as sixel data: its colours, then six rows of pixels at a time."""
    width, height = piece.size
    pixels: bytes = piece.tobytes()
    palette: Any = piece.getpalette()
    used = sorted(set(pixels))
    colours = (f"#{c};2;" + ";".join(str(round(v * 100 / 255)) for v in palette[3 * c : 3 * c + 3]) for c in used)
    rows = [pixels[at * width : (at + 1) * width] for at in range(height)]
    groups = ("$".join(_drawn(rows[at : at + _SIX])) for at in range(0, height, _SIX))
    return f'"1;1;{width};{height}' + "".join(colours) + "-".join(groups)


def _drawn(rows: list[bytes]) -> Iterator[str]:
    """For each colour in up to six rows: the columns of pixels that have it, as characters from `?` on."""
    width = len(rows[0])
    for colour in sorted(set(b"".join(rows))):
        bits = 0
        for at, row in enumerate(rows):
            only = _NOTHING[:colour] + bytes((1 << at,)) + _NOTHING[colour + 1 :]
            bits |= int.from_bytes(row.translate(only), "big")
        text = bits.to_bytes(width, "big").translate(_TO_CHARACTERS).decode("ascii").rstrip("?")
        yield f"#{colour}" + _REPEATED.sub(lambda found: f"!{len(found[0])}{found[1]}", text)


_TO_CHARACTERS: Final = bytes((63 + value) & 255 for value in range(256))


if __name__ == "__main__":
    main()
