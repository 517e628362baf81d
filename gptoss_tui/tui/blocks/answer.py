"""What the model says to the person."""

from __future__ import annotations

from rich.text import Text
from textual.strip import Strip

from gptoss_tui.agent.references import References, replace_marks, without_partial_mark
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import MARGIN, Block, readable
from gptoss_tui.tui.markdown import MarkdownView
from gptoss_tui.tui.theme import Palette


class AnswerBlock(Block):
    """Markdown that streams and is then frozen. `preamble` marks what is said before tool calls.

    Marks such as `【1†L4】` are never shown in part, and are numbered once `cite` says what they point at.
    """

    def __init__(self, *, preamble: bool = False) -> None:
        self.live = True
        self.preamble = preamble
        self._pieces = [""]
        self._references = References()
        self._view = MarkdownView(MARGIN)

    def append(self, text: str) -> None:
        """Add streamed text."""
        self._pieces.append(text)

    def finish(self, text: str) -> None:
        """Freeze the block with the whole text."""
        self._pieces = [text]
        self.live = False
        self._view = MarkdownView(MARGIN)

    def cite(self, references: References) -> None:
        """Number the marks of the finished text and list below it what they point at."""
        self._references = references

    def render(self, width: int, palette: Palette) -> list[Strip]:
        if self.live:
            return self._view.render(without_partial_mark(self._text()), readable(width), palette, live=True)
        labels = self._references.labels
        answer = self._view.render(self._text(), readable(width), palette, live=False, labels=labels)
        return [*answer, *self._list(width, palette)]

    def source(self) -> str:
        answer = replace_marks(self._text(), self._references.labels)
        listed = "\n".join(f"{label} {description}" for label, description in self._references.entries)
        return f"{answer}\n\n{listed}" if listed else answer

    def _text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def _list(self, width: int, palette: Palette) -> list[Strip]:
        """The references, one after the other; what does not fit goes on below the description."""
        rows = [lines.blank(width)] if self._references.entries else []
        for label, description in self._references.entries:
            gap = len(label) + 1
            wrapped = lines.wrap(lines.text(description, palette.muted), max(8, readable(width) - gap))
            for index, row in enumerate(wrapped):
                head = Text.assemble((f"{label} " if index == 0 else " " * gap, palette.link), row, end="")
                rows += lines.shift([lines.strip(head, readable(width))], MARGIN, width)
        return rows
