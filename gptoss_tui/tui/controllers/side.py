"""The panes on the screen: which are visible at this width, which has the focus, and what their items open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget

from gptoss_tui.tui.controllers.panes import PANE_WIDTH, PaneController
from gptoss_tui.tui.panes.dock import PANES, PaneDock

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.tools.base import Citation
    from gptoss_tui.tui.keymap import Keymap
    from gptoss_tui.tui.theme import Palette


class SideController:
    """Arranges the panes. On a narrow screen a pane replaces the conversation until left; this is not remembered."""

    def __init__(
        self, screen: Screen[None], dock: PaneDock, panes: PaneController, keymap: Keymap, say: Callable[..., None]
    ) -> None:
        self._screen = screen
        self._dock = dock
        self._panes = panes
        self._say = say
        bindings = [binding for binding in screen.BINDINGS if isinstance(binding, Binding)]
        labels = {binding.id: keymap.label(binding) for binding in bindings}
        self._keys = {pane.NAME: labels.get(f"chat.{pane.NAME}", "") for pane in PANES}

    @property
    def _width(self) -> int:
        """The screen's width; its own size is only known after the first frame, so the app's is used until then."""
        return self._screen.size.width or self._screen.app.size.width

    @property
    def _wide(self) -> bool:
        return self._width >= PANE_WIDTH

    def arrange(self) -> bool:
        """Show the open panes that have room. Returns True if reasoning belongs into the conversation instead."""
        beside = [pane.NAME for pane in PANES if self._panes.shown(pane.NAME, self._width)]
        alone = "" if self._wide else self._dock.alone
        self._dock.show(beside, alone=alone, keys=self._keys)
        self._screen.query_one("#conversation").display = not alone
        return "reasoning" not in beside and self._panes.is_open("reasoning")

    def toggle(self, name: str) -> None:
        """Show or hide a pane."""
        if self._wide:
            self._panes.toggle(name)
            if self._screen.focused is None or not self._screen.focused.display:
                self._focus(None)
            return
        self._dock.show((), alone="" if self._dock.alone == name else name)
        self.arrange()
        self._focus(self._dock.next_view(None))

    def focus_next(self) -> None:
        """Focus the next open pane; after the last one, the composer."""
        self._focus(self._dock.next_view(self._screen.focused))

    def leave(self) -> None:
        """Return to the conversation and the composer."""
        if self._dock.alone:
            self._dock.show(())
            self.arrange()
        self._focus(None)

    def open_page(self, citations: Sequence[Citation], agent: AgentPort | None, palette: Palette) -> None:
        """Show a cited page at the cited passage."""
        text = agent.page_text(citations[0]) if agent is not None else ()
        if not text:
            self._say("info", "The text of this page is no longer stored.")
            return
        from gptoss_tui.tui.screens.page import PageScreen

        screen: Screen[Any] = PageScreen(citations, text, palette)
        self._screen.app.push_screen(screen)

    def _focus(self, widget: Widget | None) -> None:
        self._screen.set_focus(widget or self._screen.query_one("#composer"))
