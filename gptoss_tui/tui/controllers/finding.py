"""The search bar: opened by a key, closed when it is left."""

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
    """Puts the bar below the conversation and does what it says. The bar is not imported before it is asked for."""

    def __init__(
        self, screen: Screen[None], transcript: Transcript, palette: Callable[[], Palette], leave: Callable[[], object]
    ) -> None:
        self._screen = screen
        self._palette = palette
        self._leave = leave
        self._search = SearchController(transcript)
        self._bar: SearchBar | None = None

    async def open(self) -> None:
        """Open the bar, or go to the next match when it is open."""
        if self._bar is not None:
            self.step(1)
            return
        from gptoss_tui.tui.widgets.search import SearchBar

        self._bar = SearchBar(self, self._palette())
        await self._screen.mount(self._bar, after="#main")

    def look_for(self, wanted: str) -> None:
        """Something else is typed."""
        found = self._search.look_for(wanted)
        if self._bar is not None:
            self._bar.show(found)

    def step(self, direction: int) -> None:
        """To the next match, or to the one before."""
        found = self._search.step(direction)
        if self._bar is not None:
            self._bar.show(found)

    def close(self) -> None:
        """The search is over; the conversation stays where it is."""
        bar, self._bar = self._bar, None
        self._search.close()
        self._leave()
        if bar is not None:
            bar.remove()
