"""The changes that a conversation made to files, as diffs to browse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from gptoss_tui.tui.diff import count_changes, parse_unified
from gptoss_tui.tui.late import late
from gptoss_tui.tui.widgets.hints import HintLine
from gptoss_tui.tui.widgets.preview import PreviewView

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.tui.theme import Palette
else:
    ev = late("gptoss_tui.agent.events")

_FILE_HINTS = (("]", "next file", "screen.go(1)"), ("[", "file before", "screen.go(-1)"))
_HINTS = (
    ("d", "other layout", "screen.change_layout"),
    ("Esc", "close", "screen.dismiss"),
)


def changes_of(events: Sequence[ev.Event]) -> list[str]:
    """The diffs of all successful edits, in order."""
    begun: dict[tuple[str, str], str] = {}
    done = []
    for event in events:
        if isinstance(event, ev.ToolStarted) and event.preview_type == "diff":
            begun[event.turn_id, event.item_id] = event.preview
        elif isinstance(event, ev.ToolFinished) and event.status == "ok":
            done.append(begun.pop((event.turn_id, event.item_id), ""))
    return [diff.rstrip("\n") for diff in done if diff.strip()]


class ChangesScreen(ModalScreen[None]):
    """Shows the diffs one after the other, over the conversation."""

    CSS = """
    ChangesScreen { align: center middle; background: $background 60%; }
    #changes {
        width: 96%;
        max-width: 160;
        height: auto;
        max-height: 92%;
        padding: 0 1;
        border: round $primary;
        border-title-color: $primary;
        background: $background;
    }
    #changes-hints { margin: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,ctrl+c", "dismiss", "Close the changes", id="changes.close", priority=True),
        Binding("right_square_bracket,n", "go(1)", "Next file", id="changes.next"),
        Binding("left_square_bracket,N", "go(-1)", "File before", id="changes.before"),
        Binding("d", "change_layout", "Side by side, or one after the other", id="changes.layout"),
        Binding("up", "scroll(-1)", "One row up", id="changes.up"),
        Binding("down", "scroll(1)", "One row down", id="changes.down"),
        Binding("pageup", "scroll(-15)", "A page up", id="changes.page_up"),
        Binding("pagedown,space", "scroll(15)", "A page down", id="changes.page_down"),
        Binding("home", "scroll(-1000000)", "First row", id="changes.home"),
        Binding("end", "scroll(1000000)", "Last row", id="changes.end"),
    ]

    def __init__(self, diffs: Sequence[str], palette: Palette) -> None:
        super().__init__()
        self._diff = "\n".join(diffs)
        self._palette = palette

    def compose(self) -> ComposeResult:
        with Vertical(id="changes"):
            yield PreviewView(id="changes-diff")
            several = len(parse_unified(self._diff)) > 1
            yield HintLine(self._palette, (*_FILE_HINTS, *_HINTS) if several else _HINTS, id="changes-hints")

    def on_mount(self) -> None:
        """Draw the diffs at the available width."""
        added, removed = count_changes(parse_unified(self._diff))
        self.query_one("#changes").border_title = Text(f"Changes of this conversation  +{added} -{removed}")
        self._view = self.query_one(PreviewView)
        shown = ev.ApprovalRequest(
            item_id="", tool="", kind="edit", title="", preview=self._diff, preview_type="diff", digest=""
        )
        self._view.show(shown, root="", palette=self._palette)
        self.on_resize()

    def on_resize(self) -> None:
        """Fit the diffs to the screen, leaving room for the border and the keys."""
        self.query_one(PreviewView).styles.max_height = max(3, int(self.app.size.height * 0.92) - 5)

    def action_go(self, step: int) -> None:
        """Go to the next file (1) or the previous one (-1)."""
        self._view.go_to_file(self._view.file_at_top + step)

    def action_change_layout(self) -> None:
        """Switch between the unified and the side-by-side layout."""
        self._view.layout_of_diff = "unified" if self._view.layout_of_diff == "split" else "split"
        self._view.draw_again()

    def action_scroll(self, rows: int) -> None:
        """Scroll by `rows` rows."""
        self._view.scroll_rows(rows)
