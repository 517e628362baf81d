"""Which panes are open beside the conversation; the choice is remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptoss_tui.tui.state import StateFile

PANE_WIDTH = 120
"""The minimum width of the screen, in columns, for panes beside the conversation."""


class PaneController:
    """The open panes by name, with defaults until the user chooses. `arrange` shows those that have room."""

    def __init__(self, state_file: StateFile, defaults: Mapping[str, bool], arrange: Callable[[], None]) -> None:
        self._state_file = state_file
        self._defaults = defaults
        self._arrange = arrange

    def is_open(self, name: str) -> bool:
        """Whether the user wants to see the pane `name`."""
        return self._state_file.remembered.panes.get(name, self._defaults.get(name, False))

    def shown(self, name: str, width: int) -> bool:
        """Whether the pane `name` is shown on a screen of `width` columns."""
        return width >= PANE_WIDTH and self.is_open(name)

    def toggle(self, name: str) -> None:
        """Open or close a pane, and remember it."""
        self._state_file.remembered.panes[name] = not self.is_open(name)
        self._state_file.save()
        self._arrange()
