"""The composer's lower border: where the app works, and the approval mode and effort for the next message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text

from gptoss_tui.harmony.effort import EFFORTS, Effort
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import count

if TYPE_CHECKING:
    from gptoss_tui.settings import Mode
    from gptoss_tui.tui.theme import Palette

_RULE = 3
"""The minimum gap, in cells, between the place and the rest."""
MODE_NAMES: dict[Mode, str] = {
    "read-only": "plan, read only",
    "ask": "asks first",
    "auto-edit": "edits without asking",
    "full-auto": "full auto in the sandbox",
}
"""How modes are described to the user."""
_MARKS: dict[Mode, str] = {"read-only": "○", "ask": "?", "auto-edit": "✎", "full-auto": "»"}


def mode_text(mode: Mode, palette: Palette) -> Text:
    """A mode with its mark; the more it permits without asking, the more it stands out."""
    style = {"read-only": palette.ok, "ask": palette.muted, "auto-edit": palette.accent, "full-auto": palette.warning}
    return lines.text(f"{_MARKS[mode]} {MODE_NAMES[mode]}", style[mode])


def effort_text(effort: Effort, cost: int, palette: Palette) -> Text:
    """`effort ▮▮▯ medium`, and the number of tokens that must be prefilled again after a change."""
    level = EFFORTS.index(effort) + 1
    text = lines.text("effort ", palette.faint)
    text.append("▮" * level, palette.reasoning + Style(italic=False))
    text.append("▯" * (len(EFFORTS) - level), palette.faint)
    text.append(f" {effort}", palette.muted)
    return text.append(f", reads {count(cost)} again", palette.warning) if cost else text


def composer_edge(mode: Mode, effort: Effort, cost: int, palette: Palette, width: int, place: str = "") -> Text:
    """Mode and effort, shortened to fit `width` cells, with the place at the other end if there is room."""
    both = [mode_text(mode, palette), effort_text(effort, cost, palette)]
    for parts in (both, [mode_text(mode, palette), lines.text(effort, palette.muted)], [mode_text(mode, palette)]):
        line = Text.assemble(" ", lines.text("  ·  ", palette.faint).join(parts), " ", end="")
        if line.cell_len <= width:
            return _with_place(line, lines.text(f" {place} ", palette.muted), width) if place else line
    return Text("", end="")


def _with_place(line: Text, place: Text, width: int) -> Text:
    rest = width - place.cell_len - line.cell_len
    return Text.assemble(place, "─" * rest, line, end="") if rest >= _RULE else line
