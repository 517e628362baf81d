"""The progress of loading a model: stage, bar and share in one row that is gone when the model is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.widget import Widget

from gptoss_tui.tui import lines

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

BAR_CELLS = 24


class LoadingBar(Widget):
    """Shown from the first frame, so that its coming moves nothing."""

    DEFAULT_CSS = """
    LoadingBar { height: 1; margin: 0 0 0 2; }
    LoadingBar.-done { display: none; }
    """

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.stage = "starting"
        self.fraction = 0.0

    def show(self, stage: str, fraction: float) -> None:
        """Show a stage at `fraction` of 1."""
        self.stage, self.fraction = stage, min(1.0, max(0.0, fraction))
        self.remove_class("-done")
        self.refresh(layout=False)

    def hide(self) -> None:
        """Loading is over."""
        self.add_class("-done")

    def render(self) -> Text:
        filled = round(self.fraction * BAR_CELLS)
        text = lines.text("━" * filled, self.palette.heading)
        text.append("━" * (BAR_CELLS - filled), self.palette.faint)
        text.append(f" {self.fraction:4.0%}  ", self.palette.muted)
        text.append(self.stage, self.palette.muted)
        text.truncate(max(1, self.size.width), overflow="ellipsis")
        return text
