"""One engine for several conversations, loaded when it is first needed and used in turns.

Each conversation holds a seat, which behaves like an `Engine` of its own: cancelling affects only its own generation,
and generations of other conversations never fail because of it. One generation runs at a time; the others wait in order
of arrival. A long one gives up the engine after a while and continues on its next turn (slices.py).

Conversations may use different models. Only one is loaded at a time; a generation that needs another model replaces it
after the previous generation has finished.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import cast

from gptoss_tui.engine import slices
from gptoss_tui.engine.types import (
    Engine,
    EngineInfo,
    EngineSpec,
    GenerationEvent,
    LoadProgress,
    SamplingParams,
    ScoredPosition,
)
from gptoss_tui.errors import EngineDiedError, EngineError

Report = Callable[[LoadProgress], None]


class SharedEngine:
    """Creates engines with `make`, one for each spec, and keeps at most one of them. Use it from one event loop."""

    def __init__(self, make: Callable[[EngineSpec], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None
        self._made: EngineSpec | None = None
        self._spec: EngineSpec | None = None
        self._loading: asyncio.Task[None] | None = None
        self._reports: list[Report] = []
        self._turnstile = asyncio.Lock()
        self._waiting: dict[object, EngineSpec] = {}
        self._closed = False

    def seat(self, spec: EngineSpec) -> EngineSeat:
        """An engine for one conversation that uses the model of `spec`. Loads nothing yet."""
        return EngineSeat(self, spec)

    @property
    def spec(self) -> EngineSpec | None:
        """The spec of what is loaded or being loaded; None before the first load."""
        return self._spec

    async def close(self) -> None:
        """Close the engine. Waiting requests fail with EngineError. Idempotent."""
        self._closed = True
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})
        if self._engine is not None:
            await self._engine.close()

    @contextlib.asynccontextmanager
    async def turn(self, spec: EngineSpec, report: Report) -> AsyncIterator[Engine]:
        """Wait for all earlier requests, then provide exclusive use of the engine with the model of `spec`."""
        place = object()
        self._waiting[place] = spec
        try:
            await self._turnstile.acquire()  # granted in order of arrival
        finally:
            del self._waiting[place]
        try:
            yield await self._ready(spec, report)
        finally:
            self._turnstile.release()

    def is_wanted(self, spec: EngineSpec) -> bool:
        """Whether the next in line uses the model of `spec`. (Giving way to another model would cost two loads.)"""
        return next(iter(self._waiting.values()), None) == spec

    async def info(self, spec: EngineSpec) -> EngineInfo | None:
        """What is loaded; None if that is not the model of `spec`."""
        if self._engine is None or self._made != spec or self._loading is not None:
            return None
        return await self._engine.info()

    async def _ready(self, spec: EngineSpec, report: Report) -> Engine:
        """Load `spec` unless it is loaded and alive. Giving up waiting does not end the load: others may need it."""
        if self._loading is not None and self._spec != spec:
            await asyncio.wait({self._loading})  # whoever began it gave up waiting; its result does not matter here
        if self._closed:
            raise EngineError("The engine was closed")
        if self._loading is not None or await self.info(spec) is None:
            await self._loaded(spec, report)
            if await self.info(spec) is None:
                raise EngineDiedError(
                    "The engine's process ended as soon as the model was loaded", hint="there may be too little memory"
                )
        assert self._engine is not None
        return self._engine

    async def _loaded(self, spec: EngineSpec, report: Report) -> None:
        """Wait for the load of `spec`, starting it if necessary. Raises whatever the load raises."""
        if self._loading is None:
            self._spec = spec
            self._loading = asyncio.create_task(self._load(spec), name="load")
            self._loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._reports.append(report)
        try:
            await asyncio.shield(self._loading)
        except asyncio.CancelledError:
            if self._closed:
                raise EngineError("The engine was closed") from None
            raise
        finally:
            self._reports.remove(report)

    async def _load(self, spec: EngineSpec) -> None:
        try:
            if self._engine is None or self._made != spec:
                if self._engine is not None:
                    await self._engine.close()
                self._engine, self._made = self._make(spec), spec
            async for progress in self._engine.load():
                for report in self._reports:
                    report(progress)
        finally:
            self._loading = None


class _Turns:
    """The turns of one generation or scoring on the engine. Implements `slices.Turns`."""

    def __init__(self, shared: SharedEngine, spec: EngineSpec) -> None:
        self.is_stopped = False
        self._shared, self._spec = shared, spec
        self._began = False
        self._engine: Engine | None = None

    @property
    def is_wanted(self) -> bool:
        return self._shared.is_wanted(self._spec)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[_Turn]:
        async with self._shared.turn(self._spec, lambda _: None) as engine:
            info = await self._shared.info(self._spec)
            self._began, self._engine = True, engine
            try:
                yield _Turn(engine, can_go_on=info is not None and info.masks)
            finally:
                self._engine = None

    async def stop(self) -> None:
        """End it as cancelled, even while others have the engine. Does nothing if it has not begun."""
        self.is_stopped = self._began
        if self._engine is not None:
            await self._engine.cancel()


@dataclass(frozen=True, slots=True)
class _Turn:
    """An engine during one turn. Implements `slices.Runner`.

    On another server nothing can continue later, because it enforces a form only from the beginning of the text.
    """

    engine: Engine
    can_go_on: bool

    def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        return cast("AsyncGenerator[GenerationEvent, None]", self.engine.generate(token_ids, params))

    def score(self, token_ids: Sequence[int], top: int, start: int) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        return cast("AsyncGenerator[tuple[ScoredPosition, ...], None]", self.engine.score(token_ids, top, start))

    async def cancel(self) -> None:
        await self.engine.cancel()


class EngineSeat:
    """Implements `engine.types.Engine` for one conversation. The first request that needs the model loads it."""

    def __init__(self, shared: SharedEngine, spec: EngineSpec) -> None:
        self.spec = spec
        self._shared = shared
        self._known: EngineInfo | None = None
        self._running: _Turns | None = None

    async def ready(self, report: Report = lambda _: None) -> EngineInfo:
        """Make sure that the model is loaded; `report` receives the progress. Raises like `Engine.load`."""
        async with self._shared.turn(self.spec, report):
            info = await self.info()
            assert info is not None
            return info

    async def load(self) -> AsyncGenerator[LoadProgress, None]:
        """Load the model; yields only the last step. See `Engine.load`."""
        yield LoadProgress("ready", 1.0, done=True, info=await self.ready())

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        """Continue `token_ids` on this conversation's turn. See `Engine.generate`."""
        self._running = turns = _Turns(self._shared, self.spec)
        try:
            async with aclosing(slices.generate(turns, token_ids, params)) as events:
                async for event in events:
                    yield event
        finally:
            self._running = None

    async def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        """Log-probabilities on this conversation's turn. See `Engine.score`."""
        self._running = turns = _Turns(self._shared, self.spec)
        try:
            async with aclosing(slices.score(turns, token_ids, top, start)) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self._running = None

    async def cancel(self) -> None:
        """Stop this conversation's generation or scoring, if it has begun. Those of others continue."""
        if self._running is not None:
            await self._running.stop()

    async def info(self) -> EngineInfo | None:
        """This model's info, even after another one replaced it; None before its first load or if it died."""
        info = await self._shared.info(self.spec)
        if info is not None or self._shared.spec == self.spec:
            self._known = info
        elif self._known is not None:
            self._known = replace(self._known, cached_tokens=0, kept_prefixes=(), parked=0, parked_bytes=0)
        return self._known

    async def close(self) -> None:
        """Do nothing: the engine is shared, and `SharedEngine.close` closes it."""
