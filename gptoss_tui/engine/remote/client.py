"""The engine as a front holds it, where the model is on a server. It lives in the front: no process, no torch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from gptoss_tui.engine.remote.address import BACKEND, parse_address, take_key
from gptoss_tui.engine.remote.detect import Served, detect
from gptoss_tui.engine.remote.dialect import TextForm, unreadable
from gptoss_tui.engine.remote.generation import Generation, checked
from gptoss_tui.engine.remote.link import FIRST_SECONDS, Link
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    GenerationEvent,
    LoadProgress,
    SamplingParams,
    ScoredPosition,
)
from gptoss_tui.errors import EngineDiedError, EngineError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.vocabulary import VOCAB_SIZE


class RemoteEngine:
    """Implements `engine.types.Engine` over HTTP. `make_form` is called once, at load.

    Generations run one at a time, in the order in which they were asked for. When the server is gone, the running one
    raises EngineDiedError and nothing is loaded any more: `load` asks it anew. `served` is what it said of itself.
    Use it from one event loop.
    """

    def __init__(self, spec: EngineSpec, make_form: Callable[[], TextForm]) -> None:
        self.spec = spec
        self.address = parse_address(spec.url)
        self._make_form = make_form
        self._link: Link | None = None
        self.served: Served | None = None
        self._turnstile = asyncio.Lock()
        self._running: Generation | None = None

    async def load(self) -> AsyncGenerator[LoadProgress, None]:
        """Find out what the server is and how it talks. Raises EngineError, EngineDiedError, ModelNotFoundError."""
        await self.close()
        yield LoadProgress(f"Asking {self.address.host}", 0.0)
        form = await asyncio.to_thread(self._make_form)
        link = Link(self.address, take_key())
        try:
            self.served = await detect(link, form, self.spec.context)
            self._link = link
        finally:
            if self._link is not link:
                await link.close()
        yield LoadProgress("ready", 1.0, done=True, info=await self.info())

    async def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        """Continue `token_ids`; waits for the requests before it. See `Engine.generate`."""
        link, served = self._loaded()
        grammars = params.constraint.grammars if params.constraint is not None else ()
        if grammars and not (served.schemas and all(grammar.kind == "json_schema" for grammar in grammars)):
            raise EngineError(f"{served.server} cannot hold a model to this form", hint="use a model on this machine")
        prompt = checked(token_ids, served.context)
        async with self._turnstile:
            generation = Generation(link, served, prompt, params)
            self._running = generation
            try:
                async with aclosing(generation.run()) as events:
                    async for event in events:
                        yield event
            except EngineDiedError:
                self.served = None
                raise
            finally:
                self._running = None

    async def score(self, token_ids: Sequence[int], top: int = 5) -> list[ScoredPosition]:
        """What the model says after every token. Raises EngineError where the server does not tell (most do not)."""
        link, served = self._loaded()
        ids = checked(token_ids, served.context)
        if served.scores is None:
            raise EngineError(
                f"{served.server} does not tell the probabilities of a prompt",
                hint="vLLM and `gptoss-tui serve` do; otherwise score with a model on this machine",
            )
        path, body = served.scores.score_body(ids, top)
        async with self._turnstile:
            reply = await link.post(path, body, FIRST_SECONDS)
        try:
            return served.scores.read_scores(reply, ids, top)
        except (TypeError, ValueError, AttributeError) as error:
            raise unreadable() from error

    async def cancel(self) -> None:
        """Stop the running generation by ending its connection; those that wait behind it stay."""
        if self._running is not None:
            self._running.cancel()

    async def info(self) -> EngineInfo | None:
        """What is served, or None. What a server does not tell is 0."""
        served = self.served
        if served is None:
            return None
        return EngineInfo(
            model=to_terminal_line(served.model),
            backend=BACKEND,
            device=f"{served.server} at {self.address.host}",
            dtype="",
            num_layers=0,
            num_experts=0,
            vocab_size=VOCAB_SIZE,
            context=served.context,
            weight_bytes=0,
            kv_bytes_per_token=0,
            masks=False,
            schemas=served.schemas,
        )

    async def unload(self) -> None:
        """Nothing on the server: others may use it. `load` asks it anew."""
        await self.close()

    async def close(self) -> None:
        """End the connection; the running generation is cancelled. Idempotent."""
        await self.cancel()
        link, self._link, self.served = self._link, None, None
        if link is not None:
            await link.close()

    def _loaded(self) -> tuple[Link, Served]:
        if self._link is None or self.served is None:
            raise EngineError("No server is connected", hint="load the model first")
        return self._link, self.served
