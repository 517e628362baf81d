"""Another model in the place of the loaded one: fetched when it is not here, loaded, and the conversation goes on.

A model that cannot be had or loaded leaves the person with the one from before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from gptoss_tui.engine.types import EngineInfo, LoadProgress
from gptoss_tui.errors import DownloadError, GptOssError
from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.controllers.history import HistoryController
    from gptoss_tui.tui.controllers.loading import ModelLoader


class ModelView(Protocol):
    """What it needs from the screen around it."""

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Tell the person something, in the conversation."""
        ...

    def show_progress(self, progress: LoadProgress) -> None:
        """Show how far something is, above the composer; `done` ends it."""
        ...


class ModelController:
    """Knows which model is loaded and changes it. `load` brings the loader's choice up and gives it, or None."""

    def __init__(
        self,
        loader: ModelLoader,
        view: ModelView,
        history: HistoryController,
        load: Callable[[], Awaitable[EngineInfo | None]],
    ) -> None:
        self._loader = loader
        self._view = view
        self._history = history
        self._load = load
        self._stopped = False
        self._fetching = ""

    @property
    def info(self) -> EngineInfo | None:
        """The loaded model."""
        return self._loader.info

    @property
    def name(self) -> str:
        """The name of the model in use."""
        return self._loader.model

    @property
    def fetching(self) -> str:
        """The model that is being downloaded; empty when none is."""
        return self._fetching

    def stop_fetching(self) -> bool:
        """End the download; what arrived is kept. False when there is none."""
        self._stopped = bool(self._fetching)
        return self._stopped

    async def switch(self, name: str) -> None:
        """Use the model `name`. Raises GptOssError, with nothing changed, when it can be neither found nor fetched."""
        if self.info is not None and name == self.name:
            self._view.say("info", f"{name} is in use already.")
            return
        if self._fetching:
            self._view.say("info", f"{self._fetching} is being downloaded; Esc stops that.")
            return
        if await asyncio.to_thread(_must_be_fetched, name):
            await self._fetch(name)
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

    async def _fetch(self, name: str) -> None:
        """Download a model while the one from before goes on working. Raises DownloadError."""
        from gptoss_tui.engine.download import DownloadProgress, download_model
        from gptoss_tui.engine.memory import gigabytes

        loop = asyncio.get_running_loop()
        self._fetching, self._stopped = name, False

        def report(progress: DownloadProgress) -> None:
            if self._stopped:
                raise DownloadError(f"The download of {name} was stopped", hint=f"/model {name} goes on from there")
            sizes = f"{gigabytes(progress.done)} of {gigabytes(progress.total)}"
            stage = f"{progress.stage} {name}: {sizes}"
            loop.call_soon_threadsafe(
                self._view.show_progress, LoadProgress(stage, progress.done / max(1, progress.total))
            )

        try:
            await asyncio.to_thread(download_model, name, on_progress=report)
        finally:
            self._fetching = ""
            self._view.show_progress(LoadProgress("", 1.0, done=True))


def _must_be_fetched(name: str) -> bool:
    """Whether a model is published and not here. Raises ModelNotFoundError for what is neither."""
    from gptoss_tui.engine.catalog import published_model, resolve_model

    try:
        resolve_model(name)
    except GptOssError:
        if published_model(name) is None:
            raise
        return True
    return False
