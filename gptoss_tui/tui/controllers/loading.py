"""Loading the engine and the agent after the first frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from gptoss_tui.errors import EngineError, GptOssError

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.engine.types import Engine, EngineInfo, LoadProgress

LoadState = Literal["idle", "loading", "ready", "failed"]


class Backend(Protocol):
    """Creates the app's parts; called in a thread, after the first frame."""

    @property
    def model(self) -> str:
        """The name of the model that `connect` opens."""
        ...

    def use_model(self, name: str) -> None:
        """Make `connect` and `build_agent` use another model."""
        ...

    async def sandbox(self) -> str:
        """What confines the tools that run code; empty when there are no such tools."""
        ...

    def guides(self) -> tuple[str, ...]:
        """The AGENTS.md files that the model is told about. Call it in a thread."""
        ...

    def connect(self) -> Engine:
        """Find the model and create the engine's client; loads nothing. Raises GptOssError."""
        ...

    def build_agent(self, engine: Engine) -> AgentPort:
        """Create the agent: tokenizer, tools, session. Raises GptOssError."""
        ...


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why no model could be loaded, and what to do."""

    message: str
    hint: str


class ModelLoader:
    """Loads the model at start, and again when the user sends a message after a failure."""

    def __init__(self, backend: Backend, on_progress: Callable[[LoadProgress], None]) -> None:
        self._backend = backend
        self._on_progress = on_progress
        self._engine: Engine | None = None
        self.state: LoadState = "idle"
        self.agent: AgentPort | None = None
        self.info: EngineInfo | None = None

    async def load(self) -> EngineInfo | LoadFailure:
        """Load everything. The agent is created while the weights load, and kept for another attempt."""
        self.state = "loading"
        try:
            info = await self._load()
        except GptOssError as error:
            self.state = "failed"
            return LoadFailure(error.message, error.hint or "")
        except Exception as error:  # to be read in the app, not in a traceback on top of it
            self.state = "failed"
            return LoadFailure(f"{type(error).__name__}: {error}", "This is a bug in gptoss-tui; please report it.")
        self.state, self.info = "ready", info
        return info

    @property
    def model(self) -> str:
        """The name of the model that is loaded or will be."""
        return self._backend.model

    async def use_model(self, name: str) -> None:
        """Close the agent and the engine; the next `load` loads the model `name`."""
        self.state = "loading"  # messages sent from now on wait for it
        await self.close()
        self._engine, self.agent, self.info, self.state = None, None, None, "idle"
        self._backend.use_model(name)

    async def sandbox(self) -> str:
        """What confines the tools that run code; empty when there are no such tools."""
        return await self._backend.sandbox()

    async def guides(self) -> tuple[str, ...]:
        """The AGENTS.md files that the model is told about."""
        return await asyncio.to_thread(self._backend.guides)

    async def check(self) -> bool:
        """Check after a failed turn whether the model is still loaded. If not, the next message loads it again."""
        if self._engine is None:
            return False
        info = None
        with suppress(GptOssError):
            info = await self._engine.info()
        if info is None:
            self.state = "failed"
        return info is not None

    async def close(self) -> None:
        """Close the agent and the engine."""
        if self.agent is not None:
            self.agent.close()
        if self._engine is not None:
            with suppress(GptOssError):
                await self._engine.close()

    async def _load(self) -> EngineInfo:
        if self._engine is None:
            from gptoss_tui.engine.types import LoadProgress

            self._on_progress(LoadProgress("starting", 0.0))
            self._engine = await asyncio.to_thread(self._backend.connect)
        engine, info = self._engine, None
        building: asyncio.Task[AgentPort] | None = None
        try:
            async for progress in engine.load():
                if building is None:  # the worker is up: load the tokenizer while the weights load, not before
                    building = asyncio.create_task(self._agent(engine))
                self._on_progress(progress)
                info = progress.info or info
            if info is None or building is None:
                raise EngineError("The engine ended loading without saying what it loaded", hint="try again")
        except BaseException:
            if building is not None:
                building.cancel()
            raise
        self.agent = await building
        return info

    async def _agent(self, engine: Engine) -> AgentPort:
        return self.agent if self.agent is not None else await asyncio.to_thread(self._backend.build_agent, engine)
