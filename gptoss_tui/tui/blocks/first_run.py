"""The welcome on the first run: this machine, the models that fit it, and how to get one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.welcome import WelcomeBlock

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

_NAME_WIDTH = 14
_HOW = "Click ↓ or type /model NAME to download one; you can go on meanwhile."


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model and its requirements in a few words. `command` gets it; `fits` is False if it cannot run here.

    `here` means that it is on this machine, so that the command loads it without a download.
    """

    name: str
    fit: str
    command: str = ""
    fits: bool = True
    here: bool = False


class FirstRunBlock(WelcomeBlock):
    """Replaces the usual welcome until the first message is sent. Its facts are filled in a moment later."""

    def __init__(self, workspace: str) -> None:
        super().__init__(workspace, ())
        self.machine = ""
        self.models: Sequence[ModelRow] = ()
        self._first_row = 0

    def render(self, width: int, palette: Palette) -> list[Strip]:
        above = super().render(width, palette)
        if not self.machine:
            return above
        rows = [lines.text("", palette.text), lines.text("This machine", palette.faint)]
        inner = min(width - 4, 92)
        rows += lines.wrap(lines.text(self.machine, palette.text), inner)
        self._first_row = len(above) + len(rows)
        for model in self.models:
            row = self._row(model, palette)
            row.truncate(inner, overflow="ellipsis")
            rows.append(row)
        if any(model.command and not model.here for model in self.models):
            rows += lines.wrap(lines.text(_HOW, palette.faint), inner)
        margin = max(2, (width - min(width - 4, 66)) // 2) if width > 100 else 4
        return [*above, *lines.shift(lines.rows(rows, width - margin), margin, width)]

    def example_at(self, row: int) -> str | None:
        """Like the base class, and the command of a model on its row."""
        at = row - self._first_row
        if self._first_row and 0 <= at < len(self.models):
            return self.models[at].command or None
        return super().example_at(row)

    def source(self) -> str:
        return "\n".join([self.machine, *(f"{model.name}: {model.fit}" for model in self.models)])

    def _row(self, model: ModelRow, palette: Palette) -> Text:
        if not model.fits:
            mark, style = "✗ ", palette.faint
        elif model.here:
            mark, style = "● ", palette.ok
        else:
            mark, style = "↓ ", palette.heading
        name = lines.text(f"{model.name:<{_NAME_WIDTH}}", palette.strong if model.fits else palette.muted)
        return Text.assemble(lines.text(mark, style), name, lines.text(model.fit, palette.muted), end="")
