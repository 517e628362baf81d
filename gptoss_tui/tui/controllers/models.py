"""Switching the model: download it if necessary, load it, and continue the conversation.

If the new model cannot be downloaded or loaded, the previous one stays in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from gptoss_tui.engine.types import EngineInfo, LoadProgress
from gptoss_tui.errors import GptOssError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.controllers.fetching import Fetcher

if TYPE_CHECKING:
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.controllers.history import HistoryController
    from gptoss_tui.tui.controllers.loading import ModelLoader


class ModelView(Protocol):
    """What the controller needs from the screen around it."""

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        ...

    def show_progress(self, progress: LoadProgress) -> None:
        """Show progress above the composer; `done` removes it."""
        ...


class ModelController:
    """Knows which model is loaded, and switches it.

    `load` loads the loader's model and returns its info, or None; `idle` waits until no turn is running.
    """

    def __init__(
        self,
        loader: ModelLoader,
        view: ModelView,
        history: HistoryController,
        load: Callable[[], Awaitable[EngineInfo | None]],
        idle: Callable[[], Awaitable[None]],
    ) -> None:
        self._loader = loader
        self._view = view
        self._history = history
        self._load = load
        self._idle = idle
        self._fetcher = Fetcher(view.show_progress)

    @property
    def info(self) -> EngineInfo | None:
        """The loaded model."""
        return self._loader.info

    @property
    def name(self) -> str:
        """The name of the model in use."""
        return self._loader.model

    def stop_fetching(self) -> bool:
        """Stop the download; what has arrived is kept. Returns False if there is none."""
        return self._fetcher.stop()

    async def switch(self, name: str) -> None:
        """Use the model `name`. Raises GptOssError, with nothing changed, if it can be neither found nor downloaded."""
        if self.info is not None and name == self.name:
            self._view.say("info", f"{name} is already in use.")
            return
        if self._fetcher.name:
            self._view.say("info", f"{self._fetcher.name} is being downloaded; Esc stops that.")
            return
        if await asyncio.to_thread(_must_be_fetched, name):
            if not await self._fetcher.fetch(name):
                hint = f"What arrived is kept: /model {name} resumes the download."
                self._view.say("info", f"The download of {name} is stopped.", hint)
                return
            await self._idle()  # a turn may have started meanwhile
        before = self._loader.model
        agent = self._loader.agent
        session = agent.session_id if agent is not None and agent.turns() else None
        ending = f"{to_terminal_line(name)} is loaded."
        if not await self._use(name):
            ending = f"{to_terminal_line(before)} is loaded again, since {to_terminal_line(name)} could not be."
            self._view.say("info", f"Going back to {to_terminal_line(before)}.")
            if not await self._use(before):
                return
        if session is not None:
            self._history.resume(session)
        self._view.say("info", ending)

    async def _use(self, name: str) -> bool:
        await self._loader.use_model(name)
        return await self._load() is not None


def _must_be_fetched(name: str) -> bool:
    """Whether a model is published but not installed. Raises ModelNotFoundError if it is neither."""
    from gptoss_tui.engine.catalog import published_model, resolve_model
    from gptoss_tui.engine.remote.address import is_address, parse_address

    try:
        if is_address(name):
            parse_address(name)
        else:
            resolve_model(name)
    except GptOssError:
        if published_model(name) is None:
            raise
        return True
    return False
