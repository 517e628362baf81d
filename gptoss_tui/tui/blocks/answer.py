"""The model's answer to the user, as blocks short enough to be drawn instantly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.strip import Strip

from gptoss_tui.agent.references import References, replace_marks, without_partial_mark
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import MARGIN, Block, readable
from gptoss_tui.tui.markdown import MarkdownView, split_markdown

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

PART_CHARS = 3000
"""When the finished blocks of a streaming part reach this length (about two screens), they are split off."""


class AnswerBlock(Block):
    """A part of an answer: Markdown that streams and is then frozen. `preamble` marks text before tool calls.

    Citation marks such as `【1†L4】` are never shown half-written; `cite` replaces them with numbers.
    """

    def __init__(self, text: str = "", *, preamble: bool = False, live: bool = True) -> None:
        self.live = live
        self.preamble = preamble
        self._pieces = [text]
        self._references = References()
        self._is_last = True
        self._view = MarkdownView(MARGIN)

    @property
    def text(self) -> str:
        """The Markdown as the model wrote it."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def append(self, text: str) -> None:
        """Add streamed text."""
        self._pieces.append(text)

    def freeze(self, text: str) -> None:
        """Set the complete text and end streaming."""
        self._pieces = [text]
        self.live = False

    def cite(self, references: References, *, is_last: bool) -> None:
        """Number the marks in the text and, if this is the last part, list the sources below it."""
        self._references, self._is_last = references, is_last

    def split(self) -> AnswerBlock | None:
        """If the part is long: freeze its finished blocks, and return a live block with the rest."""
        end = self._view.complete_to
        if end < PART_CHARS:
            return None
        rest = AnswerBlock(self.text[end:], preamble=self.preamble)
        self.freeze(self.text[:end])
        return rest

    def render(self, width: int, palette: Palette) -> list[Strip]:
        if self.live:
            return self._view.render(without_partial_mark(self.text), readable(width), palette, live=True)
        labels = self._references.labels
        answer = self._view.render(self.text, readable(width), palette, live=False, labels=labels)
        return [*answer, *self._list(width, palette)]

    def source(self) -> str:
        answer = replace_marks(self.text, self._references.labels).strip("\n")
        listed = "\n".join(f"{label} {description}" for label, description in self._entries)
        return f"{answer}\n\n{listed}" if listed else answer

    def forget(self) -> None:
        self._view.forget()

    @property
    def _entries(self) -> tuple[tuple[str, str], ...]:
        return self._references.entries if self._is_last else ()

    def _list(self, width: int, palette: Palette) -> list[Strip]:
        """The list of references; each description wraps below its own beginning."""
        rows: list[Strip] = [lines.blank(width)] if self._entries else []
        for label, description in self._entries:
            gap = len(label) + 1
            wrapped = lines.wrap(lines.text(description, palette.muted), max(8, readable(width) - gap))
            for index, row in enumerate(wrapped):
                mark = (label, palette.link) if index == 0 else (" " * len(label), palette.muted)
                head = Text.assemble(mark, " ", row, end=row.end)
                rows += lines.shift([lines.strip(head, readable(width))], MARGIN, width)
        return rows


class Answer:
    """The blocks of one answer, in order. Only the last one is live."""

    def __init__(self, *, preamble: bool = False) -> None:
        self.preamble = preamble
        self.blocks = [AnswerBlock(preamble=preamble)]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(block.text for block in self.blocks)

    def append(self, text: str) -> AnswerBlock | None:
        """Add streamed text. Returns the new block if it started one."""
        last = self.blocks[-1]
        last.append(text)
        rest = last.split()
        if rest is not None:
            self.blocks.append(rest)
        return rest

    def finish(self, text: str) -> list[AnswerBlock]:
        """Freeze the answer with its whole text. Returns the blocks to show from now on; the first stays the same."""
        if text != self.text:  # it came without its deltas, or was repaired
            parts = split_markdown(text, PART_CHARS)
            first, *_ = self.blocks
            first.freeze(parts[0])
            first.forget()
            self.blocks = [first, *(AnswerBlock(part, preamble=self.preamble, live=False) for part in parts[1:])]
        self.blocks[-1].freeze(self.blocks[-1].text)
        return self.blocks

    def cite(self, references: References) -> None:
        """Number the marks and list the sources."""
        for block in self.blocks:
            block.cite(references, is_last=block is self.blocks[-1])
