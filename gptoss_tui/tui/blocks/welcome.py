"""The empty state: what this app is, what to try, and which keys matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

EXAMPLES = (
    "create hello.py that prints hello",
    "change hello to goodbye in hello.py",
    "create shopping.txt with milk, eggs and bread",
    "what can you do?",
)
_NAME = "gptoss-tui"
_PITCH = "gpt-oss on your own machine. It asks before it changes anything."


class WelcomeBlock(Block):
    """Shown until the first message of a conversation is sent."""

    def __init__(self, workspace: str, keys: Sequence[tuple[str, str]]) -> None:
        self.workspace = workspace
        self.keys = keys
        self.guides: Sequence[str] = ()

    def render(self, width: int, palette: Palette) -> list[Strip]:
        inner = min(width - 4, 66)
        rows: list[Text] = [
            lines.text("", palette.text),
            lines.text(_NAME, palette.heading),
            *lines.wrap(lines.text(_PITCH, palette.muted), inner),
            lines.text("", palette.text),
            lines.text("Try", palette.faint),
            *(self._item("›", example, palette) for example in EXAMPLES),
            *([lines.text("", palette.text), lines.text("Keys", palette.faint)] if self.keys else []),
            *(self._key(key, what, palette) for key, what in self.keys),
            lines.text("", palette.text),
            *lines.wrap(lines.text(f"Workspace {self.workspace}", palette.faint), inner),
            *(lines.wrap(lines.text(f"Follows {', '.join(self.guides)}", palette.faint), inner) if self.guides else ()),
        ]
        margin = max(2, (width - inner) // 2) if width > 100 else 4
        return lines.shift(lines.rows(rows, width - margin), margin, width)

    def example_at(self, row: int) -> str | None:
        """The example on row `row` of the block as last drawn (the rows above the list do not wrap)."""
        first = 5
        return EXAMPLES[row - first] if 0 <= row - first < len(EXAMPLES) else None

    def _item(self, mark: str, text: str, palette: Palette) -> Text:
        return Text.assemble((f"{mark} ", palette.heading), (text, palette.text), end="")

    def _key(self, key: str, what: str, palette: Palette) -> Text:
        return Text.assemble((f"{key:<14}", palette.accent), (what, palette.muted), end="")
