"""The base class of blocks, pieces of the conversation that draw themselves at a width, and helpers for their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.strip import Strip

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARGIN = 2
STEP_MARGIN = 3
"""The width of the mark before a thought or a call: a space, the mark, a space."""
MAX_WIDTH = 116
"""Wider text is hard to read, so on very wide screens the rest of the row stays empty."""


class Block:
    """A piece of the conversation. All its text is already safe for the terminal.

    `render` returns rows of at most `width` cells. `live` blocks are redrawn as they grow; a block that is not live is
    frozen: it is drawn once per width, and its rows are kept.
    """

    live: bool = False
    gap: int = 1
    """The number of empty rows below the block."""
    series: str = ""
    """Between blocks of the same series there is no gap; empty for a block on its own."""
    is_step: bool = False
    """Whether this is a step on the way to an answer: a thought or a call."""

    @property
    def is_row(self) -> bool:
        """Whether this is a step collapsed to a single row, which gets no gap before the next step."""
        return False

    def render(self, width: int, palette: Palette) -> list[Strip]:
        """The rows of the block, at most `width` cells each; unchanged rows may be the same objects as before."""
        raise NotImplementedError

    def source(self) -> str:
        """The text that copying the block yields."""
        return ""

    def toggle(self) -> bool:
        """Open or close the block's details. Returns True if that changed how it looks."""
        return False

    def reveal(self) -> bool:
        """Open the block because a search found something in it. Returns True if that changed how it looks."""
        return False

    def forget(self) -> None:
        """Drop caches that only speed up drawing, because the block is far from the view."""

    def tick(self) -> bool:
        """Advance a spinner or a clock. Returns True if the block must be redrawn."""
        return False


def readable(width: int) -> int:
    """How many cells text may use in a row of `width` cells."""
    return max(8, min(width - 2 * MARGIN, MAX_WIDTH))


def seconds(value: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 05 s`."""
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def sentence(text: str) -> str:
    """Capitalize `text`, unless it begins with a name or a command: `vLLM`, `/help`, `--port`."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    return text[:1].upper() + text[1:] if first.rstrip(",;:.").isalpha() and first.islower() else text


def count(value: int) -> str:
    """A compact number of tokens: `312`, `4.1k`, `128k`."""
    if value < 1000:
        return str(value)
    return f"{value / 1000:.1f}k" if value < 99_950 else f"{value / 1000:.0f}k"


def plural(number: int, noun: str) -> str:
    """A number with its noun: `1 line`, `3 lines`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
