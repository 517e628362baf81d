"""The notes above a preview: why the user is asked, what deserves a second look, and facts such as the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui import lines
from gptoss_tui.tui.widgets.strips import StripView

if TYPE_CHECKING:
    from gptoss_tui.agent.events import ApprovalRequest
    from gptoss_tui.tui.theme import Palette


class NotesView(StripView):
    """The notes of a request."""

    def draw(self, request: ApprovalRequest, width: int, palette: Palette) -> list[Strip]:
        return draw_notes(request, width, palette)


def draw_notes(request: ApprovalRequest, width: int, palette: Palette) -> list[Strip]:
    """The reasons for asking, the warnings, and the facts."""
    rows: list[Text] = []
    for reason in request.reasons:
        rows += _wrapped("! ", f"asked about each time: {reason}", palette, width, loud=True)
    for warning in request.warnings:
        rows += _wrapped("! ", warning, palette, width, loud=True)
    if request.sources:
        names = ", ".join(request.sources)
        rows += _wrapped("! ", f"the model has read text of {names}: this may be their wish", palette, width, loud=True)
    for label, text in request.details:
        rows += _wrapped(f"{to_terminal_line(label)}  ", text, palette, width, loud=False)
    return lines.rows(rows, width, prefix=[Segment(" ")])


def _wrapped(label: str, text: str, palette: Palette, width: int, *, loud: bool) -> list[Text]:
    """`label` followed by `text`, with wrapped rows aligned to the text."""
    taken = lines.text(label, palette.text).cell_len
    style = palette.warning if loud else palette.muted
    body = lines.wrap(lines.text(to_terminal_line(text), style), max(8, width - taken - 1))
    first = Text.assemble((label, palette.warning if loud else palette.faint), end="").append_text(body[0])
    return [first, *(Text(" " * taken, end="").append_text(row) for row in body[1:])]
