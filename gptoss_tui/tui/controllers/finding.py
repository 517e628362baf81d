"""Opening and closing the search bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.screen import Screen

from gptoss_tui.tui.controllers.search import SearchController

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette
    from gptoss_tui.tui.widgets.search import SearchBar
    from gptoss_tui.tui.widgets.transcript import Transcript


class Finder:
    """Shows the bar below the conversation and carries out its requests. The bar is imported on first use."""

    def __init__(
        self, screen: Screen[None], transcript: Transcript, palette: Callable[[], Palette], leave: Callable[[], object]
    ) -> None:
        self._screen = screen
        self._palette = palette
        self._leave = leave
        self._search = SearchController(transcript)
        self._bar: SearchBar | None = None

    async def open(self) -> None:
        """Open the bar, or go to the next match if it is open."""
        if self._bar is not None:
            self.step(1)
            return
        from gptoss_tui.tui.widgets.search import SearchBar

        self._bar = SearchBar(self, self._palette())
        await self._screen.mount(self._bar, after="#main")

    def look_for(self, wanted: str) -> None:
        """Search for new text as it is typed."""
        found = self._search.look_for(wanted)
        if self._bar is not None:
            self._bar.show(found)

    def step(self, direction: int) -> None:
        """Go to the next or the previous match."""
        found = self._search.step(direction)
        if self._bar is not None:
            self._bar.show(found)

    def close(self) -> None:
        """End the search; the conversation keeps its scroll position."""
        bar, self._bar = self._bar, None
        self._search.close()
        self._leave()
        if bar is not None:
            bar.remove()
