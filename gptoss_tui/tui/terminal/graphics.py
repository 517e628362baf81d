"""What a terminal reports about graphics: which program it is, whether it draws sixels, and the size of its cells.

Nothing is guessed from the environment, because editors, multiplexers and shells on other machines inherit it from
another terminal. Terminals that do not answer, or are not known to draw pictures, are sent none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

Way = Literal["kitty", "iterm2", "sixel", "off"]

ASK: Final = "\x1b[>0q\x1b[16t\x1b[c"
"""Asks for XTVERSION, the cell size, and the device attributes. Every terminal answers the latter: the last reply."""

ASK_REGISTERS: Final = "\x1b[?1;1;0S"
"""Asks how many colours a sixel may have. Only for terminals with sixels: others may take it for scrolling."""

MULTIPLEXERS: Final = ("TMUX", "STY", "ZELLIJ")
_MULTIPLEXER: Final = re.compile(r"(tmux|screen|zellij)\b", re.IGNORECASE)
_KITTY: Final = re.compile(r"kitty\((\d+)\.(\d+)")
_KITTY_SINCE: Final = (0, 28)
"""The first version of kitty that supports placeholders."""
_GHOSTTY: Final = re.compile(r"ghostty\b", re.IGNORECASE)
_ITERM2: Final = re.compile(r"(iTerm2|WezTerm)\b")
ANSWER: Final = re.compile(
    r"\x1bP>\|(?P<program>[^\x1b\x07]*)(?:\x07|\x1b\\)"
    r"|\x1b\[(?:\?(?P<attributes>[\d;]*)c|\?1;0;(?P<colours>\d{1,9})S|6;(?P<height>\d{1,4});(?P<width>\d{1,4})t)"
)
"""Matches one whole reply to any of these requests."""
_SIXEL: Final = "4"
_LARGEST_CELL: Final = 200


@dataclass(frozen=True, slots=True)
class Graphics:
    """What is known so far. `answered` is set once the last reply has arrived.

    `cell` is its width and height in pixels, (0, 0) if unknown; `colours` is the limit for a sixel, 0 if unknown.
    """

    program: str = ""
    sixel: bool = False
    cell: tuple[int, int] = (0, 0)
    colours: int = 0
    answered: bool = False

    def way(self, environ: Mapping[str, str]) -> Way:
        """How the terminal draws pictures, judged by its own reports; `off` inside a multiplexer, which hides them."""
        if any(environ.get(name) for name in MULTIPLEXERS) or _MULTIPLEXER.match(self.program):
            return "off"
        if draws_placeholders(self.program):
            return "kitty"
        if _ITERM2.match(self.program):
            return "iterm2"
        return "sixel" if self.sixel and all(self.cell) else "off"

    def after(self, reply: str) -> Graphics:
        """What is known after another reply, given as a whole sequence."""
        found = ANSWER.fullmatch(reply)
        if found is None:
            return self
        if found["program"] is not None:
            return replace(self, program=found["program"])
        if found["attributes"] is not None:
            return replace(self, sixel=_SIXEL in found["attributes"].split(";")[1:], answered=True)
        if found["colours"] is not None:
            return replace(self, colours=int(found["colours"]))
        width, height = int(found["width"]), int(found["height"])
        return replace(self, cell=(width, height)) if 0 < width < _LARGEST_CELL > height > 0 else self


def draws_placeholders(program: str) -> bool:
    """Whether the terminal with this XTVERSION supports kitty's placeholders."""
    if found := _KITTY.match(program):
        return (int(found[1]), int(found[2])) >= _KITTY_SINCE
    return bool(_GHOSTTY.match(program))
