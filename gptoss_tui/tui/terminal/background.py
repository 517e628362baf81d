"""Whether the terminal is dark or light, according to its answer about its background or to COLORFGBG."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CHANNELS = re.compile(r"rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4})(?:/[0-9a-f]{1,4})?", re.IGNORECASE)
_HEX = re.compile(r"#([0-9a-f]+)", re.IGNORECASE)
_LIGHT_ANSI = {7, 9, 10, 11, 12, 13, 14, 15}
"""Those of the 16 ANSI colours that make a light background."""


def is_dark(colour: str) -> bool | None:
    """Whether a colour in a terminal's spelling (`rgb:1111/2222/3333`, `#123`) is dark; None if it is not a colour."""
    channels = _channels(colour)
    if channels is None:
        return None
    red, green, blue = channels
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.5


def dark_from_environment(environ: Mapping[str, str]) -> bool | None:
    """Whether COLORFGBG (`foreground;background`) describes a dark background; None if it does not say."""
    last = environ.get("COLORFGBG", "").rpartition(";")[2]
    if not last.isdecimal() or int(last) > 255:
        return None
    return int(last) not in _LIGHT_ANSI


def _channels(colour: str) -> tuple[float, float, float] | None:
    if found := _CHANNELS.fullmatch(colour):
        red, green, blue = (int(text, 16) / (16 ** len(text) - 1) for text in found.groups()[:3])
        return red, green, blue
    if (found := _HEX.fullmatch(colour)) and len(found[1]) in (3, 6, 9, 12):
        size = len(found[1]) // 3
        red, green, blue = (int(found[1][i * size : (i + 1) * size], 16) / (16**size - 1) for i in range(3))
        return red, green, blue
    return None
