"""The progress of loading a model: bar, percentage and stage in one row, which is hidden when the model is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text
from textual.widget import Widget

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import sentence

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

BAR_CELLS, MIN_BAR_CELLS = 24, 8
"""The bar shrinks to make room for the stage."""
_SHARE_CELLS = 7


class LoadingBar(Widget):
    """Visible from the first frame, so that nothing moves when loading begins."""

    DEFAULT_CSS = """
    LoadingBar { height: 1; margin: 0 0 0 2; }
    LoadingBar.-done { display: none; }
    """

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.stage = "Starting"
        self.fraction = 0.0

    def show(self, stage: str, fraction: float) -> None:
        """Show a stage and the progress, a `fraction` from 0 to 1."""
        self.stage, self.fraction = sentence(stage), min(1.0, max(0.0, fraction))
        self.remove_class("-done")
        self.refresh(layout=False)

    def hide(self) -> None:
        """Hide the bar, because loading is over."""
        self.add_class("-done")

    def render(self) -> Text:
        room = self.size.width - _SHARE_CELLS - cell_len(self.stage)
        cells = min(BAR_CELLS, max(MIN_BAR_CELLS, room))
        filled = round(self.fraction * cells)
        text = lines.text("━" * filled, self.palette.heading)
        text.append("━" * (cells - filled), self.palette.faint)
        text.append(f" {self.fraction:4.0%}  ", self.palette.muted)
        text.append(self.stage, self.palette.muted)
        text.truncate(max(1, self.size.width), overflow="ellipsis")
        return text
