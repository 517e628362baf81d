"""The search bar: one row with the search text and the position among the matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.tui.controllers.search import Found
    from gptoss_tui.tui.theme import Palette

KEYS = "Enter, then n/N · / edit · Esc close"


class _Wanted(Input):
    """An input that makes pasted text safe for the terminal."""

    def insert(self, text: str, index: int) -> None:
        super().insert(to_terminal_line(text), index)

    def replace(self, text: str, start: int, end: int) -> None:
        super().replace(to_terminal_line(text), start, end)


class Walker(Protocol):
    """Receives the requests of the search bar."""

    def look_for(self, wanted: str) -> None:
        """Search for other text."""
        ...

    def step(self, direction: int) -> None:
        """Go to the next match (1) or the previous one (-1)."""
        ...

    def close(self) -> None:
        """End the search."""
        ...


class SearchBar(Horizontal, can_focus=True, can_focus_children=True):
    """Enter moves the focus from the text to the bar, where `n` and `N` go through matches; `/` returns to the text."""

    DEFAULT_CSS = """
    SearchBar { height: 1; background: $surface; }
    SearchBar > #search-label { width: auto; padding: 0 1; }
    SearchBar > Input { width: 1fr; border: none; height: 1; padding: 0; background: $panel; }
    SearchBar > #search-found { width: auto; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,down,enter", "step(1)", "Next match", id="search.next"),
        Binding("N,up,shift+enter", "step(-1)", "Match before", id="search.previous"),
        Binding("slash", "edit", "Change what is looked for", id="search.edit"),
        Binding("escape", "close", "Close the search", id="search.close"),
    ]

    def __init__(self, walker: Walker, palette: Palette) -> None:
        super().__init__(id="search")
        self._walker = walker
        self._palette = palette

    def compose(self) -> ComposeResult:
        yield Static(Text("Find", style=self._palette.heading), id="search-label", markup=False)
        yield _Wanted(compact=True, placeholder="Search in this conversation", id="search-text")
        yield Static(Text(KEYS, style=self._palette.muted), id="search-found", markup=False)

    def on_mount(self) -> None:
        """Focus the text."""
        self.action_edit()

    def show(self, found: Found) -> None:
        """Show the position among the matches."""
        wanted = bool(self.query_one(Input).value.strip())
        style = self._palette.accent if found.total else self._palette.warning
        count = f"{found.position}/{found.total}  " if found.total else "nothing found  " if wanted else ""
        text = Text.assemble((count, style), (KEYS, self._palette.muted))
        self.query_one("#search-found", Static).update(text)

    def action_edit(self) -> None:
        """Focus the text for editing."""
        self.query_one(Input).focus()

    def action_step(self, direction: int) -> None:
        """Go to the next match (1) or the previous one (-1)."""
        self._walker.step(direction)

    def action_close(self) -> None:
        """End the search and give the focus back."""
        self._walker.close()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._walker.look_for(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.focus()

    async def on_key(self, event: events.Key) -> None:
        """Let Up and Down go through the matches from the text, too."""
        if event.key in ("down", "up") and self.query_one(Input).has_focus:
            event.stop()
            self.action_step(1 if event.key == "down" else -1)
