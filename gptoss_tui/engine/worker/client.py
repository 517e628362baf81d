"""The front end's side of the worker: an `Engine` whose model lives in a worker process.

Importing this does not import torch, and nothing here blocks the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from gptoss_tui.engine.types import (
    RANDOM_PREFIX,
    EngineInfo,
    EngineSpec,
    Finished,
    GenerationEvent,
    LoadProgress,
    SamplingParams,
    ScoredPosition,
)
from gptoss_tui.engine.worker.connection import Connection
from gptoss_tui.engine.worker.protocol import (
    Described,
    Generate,
    Generated,
    Info,
    Load,
    Progress,
    Score,
    Scored,
    ends_request,
)
from gptoss_tui.errors import EngineError


class EngineClient:
    """Implements `engine.types.Engine` with a worker process, which `load` starts.

    Requests are answered in the order in which they were sent; `cancel` and `info` do not wait. When the worker dies,
    every open request raises EngineDiedError, and so does every later one until `load` is called.
    Use it from one event loop.
    """

    def __init__(self, spec: EngineSpec) -> None:
        # The worker runs in another directory. `random:NAME` is not a path.
        named = str(spec.checkpoint).startswith(RANDOM_PREFIX)
        self.spec = spec if named else replace(spec, checkpoint=spec.checkpoint.absolute())
        self._connection: Connection | None = None
        self._starting = asyncio.Lock()
        self._closings = 0

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, or None if none is running."""
        return self._connection.pid if self._connection and not self._connection.dead else None

    async def load(self) -> AsyncGenerator[LoadProgress, None]:
        """Load the model of `spec`, starting a worker if none is running. The last step is `done` and carries the info.

        Closing the iterator earlier ends the worker, because a load cannot be stopped halfway; so does a failed load.
        Raises CheckpointError, MemoryPlanError, UsageError, EngineError, EngineDiedError.
        """
        connection = await self._worker()
        done = False
        try:
            async with connection.request(lambda request_id: Load(request_id, self.spec)) as replies:
                while not done:
                    reply = await replies.get()
                    assert isinstance(reply, Progress)
                    done = reply.progress.done
                    yield reply.progress
        finally:
            if not done:
                await self._drop(connection)

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        """Continue `token_ids`; waits for the requests before it. See `Engine.generate`."""
        async with self._running().request(
            lambda request_id: Generate(request_id, tuple(token_ids), params)
        ) as replies:
            while True:
                reply = await replies.get()
                assert isinstance(reply, Generated)
                yield reply.event
                if isinstance(reply.event, Finished):
                    return

    async def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        """The prediction after every token of `token_ids`, with the `top` most likely ids. See `Engine.score`."""
        async with self._running().request(
            lambda request_id: Score(request_id, tuple(token_ids), top, start)
        ) as replies:
            while not ends_request(reply := await replies.get()):
                assert isinstance(reply, Scored)
                yield reply.positions

    async def cancel(self) -> None:
        """Stop the running generation or scoring within one step; waiting ones are not affected."""
        if self._connection is not None:
            self._connection.cancel_running()

    async def info(self) -> EngineInfo | None:
        """What is loaded, or None. Answered even while a generation runs."""
        if self._connection is None or self._connection.dead:
            return None
        async with self._connection.request(Info) as replies:
            reply = await replies.get()
            assert isinstance(reply, Described)
            return reply.info

    async def close(self) -> None:
        """End the worker, even while it is starting. Open requests fail with EngineError. Idempotent.

        `load` starts another worker.
        """
        self._closings += 1
        if self._connection is not None:
            await self._drop(self._connection)

    async def _worker(self) -> Connection:
        """The running worker or a new one; concurrent loads share it."""
        async with self._starting:
            closings = self._closings
            if self._connection is None or self._connection.dead:
                connection = await Connection.open()
                if closings != self._closings:
                    await connection.close()
                    raise EngineError("The engine was closed while it started", hint="load a model first")
                self._connection = connection
            return self._connection

    async def _drop(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None
        await connection.close()

    def _running(self) -> Connection:
        if self._connection is None:
            raise EngineError("The engine is not running", hint="load a model first")
        return self._connection
