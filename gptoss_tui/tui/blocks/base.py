"""The block: a piece of the conversation that draws itself at a width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.strip import Strip

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
MARGIN = 2
STEP_MARGIN = 3
"""What stands before a thought or a call: a space, its mark, a space."""
MAX_WIDTH = 116
"""Text wider than this is hard to read; on very wide screens the rest of the row stays empty."""


class Block:
    """A piece of the conversation. All its text is safe for the terminal before it gets here.

    `render` gives rows of at most `width` cells. `live` blocks are drawn again as they grow; a block that is not live
    is frozen: it is drawn once a width and kept.
    """

    live: bool = False
    gap: int = 1
    """Empty rows below the block."""
    is_step: bool = False
    """Whether it is something that the model did on its way to an answer: a thought, a call."""

    @property
    def is_row(self) -> bool:
        """Whether it is a step that is closed to a single row, which stands close to the steps below it."""
        return False

    def render(self, width: int, palette: Palette) -> list[Strip]:
        """The rows of the block, at most `width` cells each; rows that did not change may be the same objects."""
        raise NotImplementedError

    def source(self) -> str:
        """The text that a copy of the block gives."""
        return ""

    def toggle(self) -> bool:
        """Open or close the block's details. True when that changed how it looks."""
        return False

    def reveal(self) -> bool:
        """Open what is closed, because something in it was looked for. True when that changed how it looks."""
        return False

    def forget(self) -> None:
        """Drop what only speeds drawing up: the block is far from the view."""

    def tick(self) -> bool:
        """Advance a spinner or a clock. True when the block must be drawn again."""
        return False


def readable(width: int) -> int:
    """The cells that text may take of a row of `width`."""
    return max(8, min(width - 2 * MARGIN, MAX_WIDTH))


def seconds(value: float) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 05 s`."""
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def sentence(text: str) -> str:
    """`text` with a capital at its begin, unless it begins with a name or a command: `vLLM`, `/help`, `--port`."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    return text[:1].upper() + text[1:] if first.rstrip(",;:.").isalpha() and first.islower() else text


def count(value: int) -> str:
    """A number of tokens: `312`, `4.1k`, `128k`."""
    if value < 1000:
        return str(value)
    return f"{value / 1000:.1f}k" if value < 99_950 else f"{value / 1000:.0f}k"


def plural(number: int, noun: str) -> str:
    """`1 line`, `3 lines`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
