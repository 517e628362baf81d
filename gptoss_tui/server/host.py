"""The server's engine: loaded once, restarted when it dies, and shared by all requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import date
from typing import Literal, cast

from gptoss_tui.engine.types import Engine, EngineInfo, GenerationEvent, LoadProgress, SamplingParams, ScoredPosition
from gptoss_tui.errors import EngineDiedError, EngineError, GptOssError
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.memory import MessageMemory

State = Literal["loading", "ready", "failed"]

RETRY_SECONDS = 10

_log = logging.getLogger(__name__)


class EngineHost:
    """One engine with its tokenizer. Belongs to one event loop."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.memory = MessageMemory(tokenizer)
        self.info: EngineInfo | None = None
        self.problem: GptOssError | None = None
        self.restarts = 0
        self._loading: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Whether requests can be answered."""
        if self.info is not None:
            return "ready"
        return "failed" if self.problem is not None else "loading"

    def loaded(self) -> EngineInfo:
        """What is loaded. Raises ApiError 503 if nothing is; after a load that failed, another one begins then."""
        if self.info is not None:
            return self.info
        if (problem := self.problem) is not None:
            self.begin()
            raise ApiError(503, problem.message, code="engine_unavailable", retry_after=RETRY_SECONDS)
        raise ApiError(503, "The model is being loaded.", code="model_loading", retry_after=RETRY_SECONDS)

    async def load(self, on_progress: Callable[[LoadProgress], None] = lambda progress: None) -> None:
        """Load the model. Raises whatever the engine's `load` raises."""
        self.problem = None
        try:
            async for progress in self.engine.load():
                on_progress(progress)
                if progress.done:
                    self.info = progress.info
        except GptOssError as error:
            self.problem = error
            raise
        except Exception as error:
            self.problem = EngineError(f"The engine failed to load ({type(error).__name__})")
            raise self.problem from error

    def begin(self) -> None:
        """Load in the background, unless that is already happening."""
        if self._loading is None or self._loading.done():
            self.info, self.problem = None, None
            self._loading = asyncio.create_task(self._load_again(), name="load the model again")

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        """Continue `token_ids`. If the engine dies, it is restarted in the background, and the error is raised."""
        generation = cast("AsyncGenerator[GenerationEvent, None]", self.engine.generate(token_ids, params))
        with self._started_again():
            async with aclosing(generation) as events:
                async for event in events:
                    yield event

    @property
    def can_go_on(self) -> bool:
        """Whether a cancelled request can continue later. Not on another server: it enforces forms from their start."""
        return self.info is not None and self.info.masks

    async def cancel(self) -> None:
        """Stop what is running, within one step."""
        await self.engine.cancel()

    async def score(
        self, token_ids: Sequence[int], top: int, start: int
    ) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        """The predictions after every token from `start` on. Restarts the engine like `generate`."""
        scoring = cast("AsyncGenerator[tuple[ScoredPosition, ...], None]", self.engine.score(token_ids, top, start))
        with self._started_again():
            async with aclosing(scoring) as batches:
                async for batch in batches:
                    yield batch

    @contextmanager
    def _started_again(self) -> Iterator[None]:
        try:
            yield
        except EngineDiedError:
            self.restarts += 1
            self.begin()
            raise

    async def close(self) -> None:
        """Close the engine."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        await self.engine.close()

    @staticmethod
    def today() -> str:
        """The date for the system message."""
        return date.today().isoformat()

    async def _load_again(self) -> None:
        try:
            await self.load()
        except GptOssError as error:
            _log.error("the engine cannot be started again: %s", error.message)
