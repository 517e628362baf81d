"""The full preview of what a request would do: a scrollable view of a diff, a command, code or an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.sanitize import to_terminal_source
from gptoss_tui.tui import lines
from gptoss_tui.tui.diff import Layout, draw_diff
from gptoss_tui.tui.highlight import highlight
from gptoss_tui.tui.widgets.strips import StripView

if TYPE_CHECKING:
    from gptoss_tui.agent.events import ApprovalRequest
    from gptoss_tui.tui.theme import Palette

_LANGUAGES = {"code": "python", "command": "bash"}
_MAX_COLOURED = 20_000
"""Code with more characters than this is shown without colours, so that it appears at once."""


class PreviewView(StripView):
    """Shows the whole preview; nothing is omitted."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._root = ""
        self.layout_of_diff: Layout = "split"
        self.left_out: frozenset[str] = frozenset()
        self.files: tuple[tuple[int, str], ...] = ()

    def show(self, request: ApprovalRequest, *, root: str, palette: Palette) -> None:
        """Show another request from its top; `root` is the folder to which the paths in a diff are relative."""
        self._root, self.left_out = root, frozenset()
        self.show_request(request, palette)

    @property
    def file_at_top(self) -> int:
        """The index of the file that is at the top of the view."""
        top = round(self.scroll_target_y)
        return max(0, sum(row <= top for row, _ in self.files) - 1)

    def go_to_file(self, number: int) -> None:
        """Scroll to the header of a file."""
        if self.files:
            row, _ = self.files[max(0, min(number, len(self.files) - 1))]
            self.scroll_to(y=row, animate=False, force=True)

    def draw(self, request: ApprovalRequest, width: int, palette: Palette) -> list[Strip]:
        if request.preview_type == "diff":
            drawn = draw_diff(
                request.preview, width, palette, self._root, layout=self.layout_of_diff, left_out=self.left_out
            )
            self.files = drawn.files
            return drawn.strips
        self.files = ()
        folded = [row for line in _source(request, palette) for row in lines.fold(line, width - 1)]
        return lines.rows(folded, width, prefix=[Segment(" ")], base=palette.code_block)


def _source(request: ApprovalRequest, palette: Palette) -> list[Text]:
    """The lines of a preview with syntax colours; their characters are never altered."""
    safe = to_terminal_source(request.preview)
    plain = [lines.text(line, palette.text) for line in safe.split("\n")]
    language = _LANGUAGES.get(request.preview_type, "")
    if not language or len(safe) > _MAX_COLOURED:
        return plain
    coloured = highlight(safe, language, palette)
    if [line.plain for line in coloured] != [line.plain for line in plain]:
        return plain
    return coloured
