"""The registry of panes, and the dock that shows the open ones beside the conversation or instead of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from gptoss_tui.tui.panes.citations import CitationsPane
from gptoss_tui.tui.panes.reasoning import ReasoningPane
from gptoss_tui.tui.panes.tools import ToolsPane

if TYPE_CHECKING:
    from gptoss_tui.tui.panes.base import ItemView, Pane
    from gptoss_tui.tui.theme import Palette

PANES: tuple[type[Pane], ...] = (ReasoningPane, ToolsPane, CitationsPane)
"""All panes, from top to bottom. To add one, add its class here and a key on the chat screen."""

OPEN_AT_FIRST = {"reasoning": True}
"""Which panes are open until the user chooses."""


class PaneDock(Vertical):
    """The open panes, stacked. On a narrow screen one pane can replace the conversation."""

    DEFAULT_CSS = """
    PaneDock { display: none; width: 36%; max-width: 80; border-left: solid $border; background: $background; }
    PaneDock.-alone { width: 1fr; max-width: 100%; border-left: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.reasoning, self.tools, self.citations = ReasoningPane(), ToolsPane(), CitationsPane()
        self.panes: tuple[Pane, ...] = (self.reasoning, self.tools, self.citations)
        self._beside: Collection[str] = ()
        self._alone = ""

    def compose(self) -> ComposeResult:
        yield from self.panes

    @property
    def alone(self) -> str:
        """The pane that replaces the conversation, or an empty string."""
        return self._alone

    def show(self, names: Collection[str], *, alone: str = "", keys: dict[str, str] | None = None) -> None:
        """Show these panes beside the conversation, or one `alone` instead of it."""
        self._beside, self._alone = names, alone
        shown = (alone,) if alone else names
        for pane in self.panes:
            pane.display = pane.NAME in shown
            if keys is not None:
                pane.title.key = keys.get(pane.NAME, "")
            pane.flush()
        self.display = bool(shown)
        self.set_class(bool(alone), "-alone")

    def next_view(self, focused: Widget | None) -> ItemView | None:
        """The view to focus after `focused`; None for the composer."""
        views = [pane.view for pane in self.panes if pane.display] if self.display else []
        if focused not in views:
            return views[0] if views else None
        following = views.index(focused) + 1
        return views[following] if following < len(views) else None

    def set_palette(self, palette: Palette) -> None:
        """Apply another palette."""
        for pane in self.panes:
            pane.set_palette(palette)

    def flush(self) -> None:
        """Draw what changed."""
        for pane in self.panes:
            pane.flush()

    def clear(self) -> None:
        """Remove everything, for a new conversation."""
        for pane in self.panes:
            pane.clear()
