"""What the model says to the person."""

from __future__ import annotations

from textual.strip import Strip

from gptoss_tui.tui.blocks.base import MARGIN, Block, readable
from gptoss_tui.tui.markdown import MarkdownView
from gptoss_tui.tui.theme import Palette


class AnswerBlock(Block):
    """Markdown that streams and is then frozen. `preamble` marks what is said before tool calls."""

    def __init__(self, *, preamble: bool = False) -> None:
        self.live = True
        self.preamble = preamble
        self._pieces = [""]
        self._view = MarkdownView(MARGIN)

    def append(self, text: str) -> None:
        """Add streamed text."""
        self._pieces.append(text)

    def finish(self, text: str) -> None:
        """Freeze the block with the whole text."""
        self._pieces = [text]
        self.live = False
        self._view = MarkdownView(MARGIN)

    def render(self, width: int, palette: Palette) -> list[Strip]:
        return self._view.render(self.source(), readable(width), palette, live=self.live)

    def source(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]
