"""Going back to before an earlier message: choose it, drop it and what came after, and have its text in the draft."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gptoss_tui.errors import GptOssError

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.tui.screens.picker import Picked, Picker

Pick = Callable[["Picker"], Awaitable["Picked | None"]]


class RewindController:
    """`dropped` hears the id of the first dropped turn and the text of its message."""

    def __init__(self, pick: Pick, dropped: Callable[[str, str], None], refused: Callable[[str], None]) -> None:
        self._pick = pick
        self._dropped = dropped
        self._refused = refused

    async def choose(self, agent: AgentPort) -> None:
        """Let the person choose a message, the newest first, and go back to before it."""
        from gptoss_tui.tui.screens.picker import Picker, loaded
        from gptoss_tui.tui.slash.conversation import turn_item

        turns = agent.turns()
        items = [turn_item(turn) for turn in reversed(turns)]
        title = "Go back to before this message; files stay as they are"
        picked = await self._pick(Picker(title, loaded(items), what="go back", empty="Nothing was said yet."))
        if picked is None:
            return
        try:
            text = agent.rewind(int(picked.value))
        except GptOssError as error:
            self._refused(error.message)
            return
        self._dropped(f"t{picked.value}", text)
