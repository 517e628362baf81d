"""An engine whose model is on a server. It runs in the front end, without another process and without torch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from gptoss_tui.engine.remote.address import BACKEND, parse_address, take_key
from gptoss_tui.engine.remote.detect import Served, detect
from gptoss_tui.engine.remote.dialect import TextForm, unreadable
from gptoss_tui.engine.remote.generation import Generation, checked
from gptoss_tui.engine.remote.link import FIRST_SECONDS, MAX_SCORES, Link
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    GenerationEvent,
    LoadProgress,
    SamplingParams,
    ScoredPosition,
)
from gptoss_tui.errors import EngineDiedError, EngineError
from gptoss_tui.vocabulary import VOCAB_SIZE


@dataclass(frozen=True, slots=True)
class _Connected:
    link: Link
    served: Served


class RemoteEngine:
    """Implements `engine.types.Engine` over HTTP. `make_form` is called once per load.

    Up to `at_once` generations run at a time; the others wait in order. When the server is gone, one running generation
    raises EngineDiedError, the others end as cancelled, and nothing is loaded any more until `load` connects again.
    `load` and `close` end what is running, including another `load`; waiting requests fail with EngineError, unless a
    server is connected by their turn.
    Use it from one event loop.
    """

    def __init__(self, spec: EngineSpec, make_form: Callable[[], TextForm], at_once: int = 1) -> None:
        self.spec = spec
        self.address = parse_address(spec.url)
        self._make_form = make_form
        self._connected: _Connected | None = None
        self._loading: Link | None = None
        self._turnstile = asyncio.Semaphore(at_once)
        self._running: list[Generation] = []

    @property
    def served(self) -> Served | None:
        """What the server reported about itself."""
        return None if self._connected is None else self._connected.served

    async def load(self) -> AsyncGenerator[LoadProgress, None]:
        """Find out what the server is and how to talk to it.

        Raises EngineError, EngineDiedError, ModelNotFoundError.
        """
        await self.close()
        link = self._loading = Link(self.address, take_key())
        try:
            yield LoadProgress(f"Asking {self.address.host}", 0.0)
            form = await asyncio.to_thread(self._make_form)
            served = await detect(link, form, self.spec.context)
            if self._loading is not link:
                raise EngineError(f"{self.address.host} was left while it was asked", hint="load the model again")
            self._connected = _Connected(link, served)
        finally:
            if self._loading is link:
                self._loading = None
            if self._connected is None or self._connected.link is not link:
                await link.close()
        yield LoadProgress("ready", 1.0, done=True, info=await self.info())

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        """Continue `token_ids`; waits for the requests before it. See `Engine.generate`."""
        grammars = params.constraint.grammars if params.constraint is not None else ()
        async with self._turn() as connected:
            served = connected.served
            if grammars and not (served.schemas and all(grammar.kind == "json_schema" for grammar in grammars)):
                raise EngineError(f"{served.server} cannot enforce this form of answer", hint="use a local model")
            prompt = checked(token_ids, served.context)
            generation = Generation(connected.link, served, prompt, params)
            self._running.append(generation)
            try:
                async with aclosing(generation.run()) as events:
                    async for event in events:
                        yield event
            finally:
                self._running.remove(generation)

    async def score(
        self, token_ids: Sequence[int], top: int = 5, start: int = 0
    ) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        """The predictions after every token, in one batch.

        Raises EngineError if the server does not report them, as most do not.
        """
        async with self._turn() as connected:
            served = connected.served
            ids = checked(token_ids, served.context)
            if served.scores is None:
                raise EngineError(
                    f"{served.server} does not return the probabilities of a prompt",
                    hint="vLLM and `gptoss-tui serve` do; otherwise score with a local model",
                )
            path, body = served.scores.score_body(ids, top)
            reply = await connected.link.post(path, body, FIRST_SECONDS, MAX_SCORES)
        try:
            scored = served.scores.read_scores(reply, ids, top)
        except (TypeError, ValueError, AttributeError) as error:
            raise unreadable() from error
        yield tuple(scored[start:])

    async def cancel(self) -> None:
        """Stop what is running by closing its connection; waiting requests are not affected."""
        for generation in self._running:
            generation.cancel()

    async def info(self) -> EngineInfo | None:
        """What is served, or None. Values that the server does not report are 0."""
        served = self.served
        if served is None:
            return None
        return EngineInfo(
            model=served.model,
            backend=BACKEND,
            device=f"{served.server} at {self.address.host}",
            dtype="",
            num_layers=0,
            num_experts=0,
            vocab_size=VOCAB_SIZE,
            context=served.context,
            weight_bytes=0,
            masks=False,
            schemas=served.schemas,
        )

    async def close(self) -> None:
        """Close the connection. What is running is cancelled, and a `load` in progress fails. Idempotent."""
        await self.cancel()
        connected, self._connected = self._connected, None
        loading, self._loading = self._loading, None
        for link in (loading, connected.link if connected is not None else None):
            if link is not None:
                await link.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[_Connected]:
        """Wait for earlier requests. By then another server may be connected, or none."""
        async with self._turnstile:
            connected = self._connected
            if connected is None:
                raise EngineError("No server is connected", hint="load the model first")
            try:
                yield connected
            except EngineDiedError:
                if self._connected is connected:
                    await self.close()
                raise
