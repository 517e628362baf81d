"""What hears the composer before the parts behind it have come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gptoss_tui.tui.widgets.composer import ComposerListener


class EarlyListener:
    """Implements `ComposerListener`. Typing waits for nothing; a key that wants something brings the parts in now."""

    def __init__(self, parts: Callable[[], ComposerListener]) -> None:
        self._parts = parts

    async def take_key(self, key: str) -> bool:
        """Letters wait for nothing; behind keys that complete or send stand the parts."""
        return await self._parts().take_key(key) if key in ("tab", "enter") else False

    def changed(self) -> None:
        """The draft is looked at when the parts are there."""

    def recalled(self) -> None:
        """Nothing is offered yet."""

    def search_history(self) -> None:
        """Let the person choose an earlier prompt."""
        self._parts().search_history()

    def edit_outside(self) -> None:
        """Open the draft in the person's editor."""
        self._parts().edit_outside()

    def emptied(self) -> None:
        """There are no notes yet."""
