"""Listens to the composer until the parts behind it are imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptoss_tui.tui.widgets.composer import ComposerListener


class EarlyListener:
    """Implements `ComposerListener`. Typing works right away; the first key that needs the parts loads them."""

    def __init__(self, parts: Callable[[], ComposerListener]) -> None:
        self._parts = parts

    async def take_key(self, key: str) -> bool:
        """Pass on keys that complete or send, which need the parts; all others are not handled here."""
        return await self._parts().take_key(key) if key in ("tab", "enter") else False

    def changed(self) -> None:
        """Do nothing: the draft is examined once the parts are there."""

    def recalled(self) -> None:
        """Do nothing: there are no completions yet."""

    def search_history(self) -> None:
        """Let the user choose an earlier prompt."""
        self._parts().search_history()

    def edit_outside(self) -> None:
        """Open the draft in the user's editor."""
        self._parts().edit_outside()

    def emptied(self) -> None:
        """Do nothing: there are no notes yet."""

    def vim_changed(self) -> None:
        """Do nothing: the mode is shown once the parts are there."""
