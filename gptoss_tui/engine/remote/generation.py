"""One generation on a server: sends the requests and turns the replies into the events of the engine contract."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.meter import Meter
from gptoss_tui.engine.remote.detect import Served
from gptoss_tui.engine.remote.dialect import Ended, Exchange, Reading, read_event
from gptoss_tui.engine.remote.link import Link
from gptoss_tui.engine.types import (
    FinishReason,
    GenerationEvent,
    PrefillProgress,
    SamplingParams,
    Token,
    TokenBatch,
)
from gptoss_tui.errors import ContextOverflowError, EngineDiedError, EngineError
from gptoss_tui.vocabulary import VOCAB_SIZE

COSTS_SECONDS = 1.0
"""How long to listen after the last token: that is when servers report what was cached."""


def checked(token_ids: Sequence[int], context: int) -> list[int]:
    """Return the prompt as a list, with room for a token after it. Raises EngineError, ContextOverflowError."""
    prompt = list(token_ids)
    if not prompt or not 0 <= min(prompt) <= max(prompt) < VOCAB_SIZE:
        raise EngineError("A prompt has at least one token, and only those of the vocabulary")
    if len(prompt) >= context:
        raise ContextOverflowError(
            f"The prompt of {len(prompt)} tokens leaves no room in the server's context of {context}",
            hint="start a new conversation, or serve the model with a larger context",
        )
    return prompt


class _Arrivals:
    """The replies to one request. A separate task reads from the network, so waiting can be ended at any time."""

    def __init__(self, link: Link, exchange: Exchange) -> None:
        self._link = link
        self._exchange = exchange
        self._queue: asyncio.Queue[Reading | Exception | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._read(), name="remote generation")

    @property
    def over(self) -> bool:
        """Whether nothing more will arrive."""
        return self._task.done() and self._queue.empty()

    def wake(self) -> None:
        """Make a waiting `next` return."""
        self._queue.put_nowait(None)

    async def next(self) -> list[Reading]:
        """Wait for readings; returns all that have arrived, none if it was woken. Raises the request's error."""
        waiting = [await self._queue.get()]
        while not self._queue.empty():
            waiting.append(self._queue.get_nowait())
        readings = [one for one in waiting if isinstance(one, Reading)]
        for error in (one for one in waiting if isinstance(one, Exception)):
            if not readings:
                raise error
            self._queue.put_nowait(error)  # to be raised after the tokens that came before it
        return readings

    async def close(self) -> None:
        """Close the connection."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _read(self) -> None:
        ended: Ended | None = None
        host = self._link.address.host
        try:
            async with aclosing(self._link.stream(self._exchange.path, self._exchange.body)) as events:
                async for event in events:
                    self._link.raise_error_in(event)
                    reading = read_event(self._exchange, event)
                    ended = ended or reading.ended
                    # The end is reported after the tokens held back, and after the usage that follows it.
                    self._queue.put_nowait(replace(reading, ended=None))
            if ended is None:
                raise EngineDiedError(
                    f"{host} cut off its answer",
                    hint="what was said is kept; ask again, or check the server",
                )
            self._queue.put_nowait(Reading(self._exchange.finish(ended == "stop"), ended))
        except Exception as error:
            self._queue.put_nowait(error)


class Generation:
    """One generation. Where the text must follow a JSON schema, a new request is sent: servers enforce a schema from
    the first token of an answer, and a thought and a header come before that.
    """

    def __init__(self, link: Link, served: Served, prompt: list[int], params: SamplingParams) -> None:
        self._link = link
        self._served = served
        self._prompt = prompt
        self._params = params
        self._space = served.context - len(prompt)
        self._room = min(params.max_tokens or self._space, self._space)
        self._walk = Walk(params.constraint) if params.constraint is not None else None
        self._meter = Meter(len(prompt), time.perf_counter(), prefilled=len(prompt))
        self._said: list[int] = []
        self._ended: FinishReason | None = None
        self._arrivals: _Arrivals | None = None
        self._cancelled = False
        self._requests = 0

    def cancel(self) -> None:
        """Close the connection, whatever the generation is doing. Idempotent."""
        self._cancelled = True
        if self._arrivals is not None:
            self._arrivals.wake()

    async def run(self) -> AsyncGenerator[GenerationEvent, None]:
        """Yield the events up to `Finished`. Raises EngineError, EngineDiedError."""
        yield PrefillProgress(len(self._prompt), 0, 0)
        while self._ended is None:
            left = self._room - self._meter.generated
            exchange = self._served.dialect.open([*self._prompt, *self._said], self._params, left, self._schema)
            self._requests += 1
            self._arrivals = _Arrivals(self._link, exchange)
            try:
                async for event in self._ask(self._arrivals):
                    yield event
            finally:
                await self._arrivals.close()
        if self._ended == "length" and self._room == self._space:
            self._ended = "context"
        yield self._meter.finish(self._ended)

    async def _ask(self, arrivals: _Arrivals) -> AsyncGenerator[GenerationEvent, None]:
        """Run one request, until the end or until a schema starts to apply."""
        schema = self._schema
        while self._ended is None and self._schema == schema:
            readings = await self._next(arrivals)
            for event in self._before_tokens(readings):
                yield event
            tokens = self._take(readings, schema)
            if tokens:
                yield TokenBatch(tokens)
        if self._ended in ("stop", "length"):
            # Servers report usage after the last token. The answer is complete, so no error matters here.
            with contextlib.suppress(TimeoutError, EngineError):
                async with asyncio.timeout(COSTS_SECONDS):
                    while not arrivals.over:
                        self._before_tokens(await arrivals.next())

    async def _next(self, arrivals: _Arrivals) -> list[Reading]:
        try:
            return [] if self._cancelled else await arrivals.next()
        except EngineError:
            if self._cancelled:
                return []
            raise

    @property
    def _schema(self) -> str | None:
        """The JSON schema that the next tokens must follow."""
        grammar = self._walk.grammar if self._walk is not None else None
        return None if grammar is None else grammar.text

    def _take(self, readings: list[Reading], schema: str | None) -> tuple[Token, ...]:
        """Return the tokens that count; if they are the last ones, record the reason."""
        tokens: list[Token] = []
        for token in (token for reading in readings for token in reading.tokens):
            tokens.append(self._follow(token))
            self._said.append(tokens[-1].id)
            self._meter.generated += 1
            if tokens[-1].id in self._params.stop_token_ids:
                self._ended = "stop"
            elif self._meter.generated == self._room:
                self._ended = "length"
            if self._ended is not None or self._schema != schema:
                return tuple(tokens)
        if self._cancelled:
            self._ended = "cancelled"
        elif readings:
            self._ended = readings[-1].ended
        return tuple(tokens)

    def _follow(self, token: Token) -> Token:
        """Translate a token to what the constraint expects, and advance the walk.

        A server that enforces a schema ends the arguments of a call with the token that ends its texts.
        """
        if self._walk is None:
            return token
        state = self._walk.state
        if self._schema is not None and state is not None and token.id in self._params.stop_token_ids:
            ends = [stop for stop in self._params.stop_token_ids if stop in state.following]
            token = replace(token, id=ends[0]) if len(ends) == 1 else token
        self._walk.advance(token.id)
        return token

    def _before_tokens(self, readings: list[Reading]) -> list[PrefillProgress]:
        """Prefill progress from these readings. The whole prompt has been read when the first token arrives."""
        meter = self._meter
        events = [one.progress for one in readings if one.progress is not None and meter.prefilled_at is None]
        for reading in readings:
            if reading.cached is not None and self._requests == 1:
                meter.cached = min(reading.cached, meter.prompt)
                meter.prefilled = meter.prompt - meter.cached
        if meter.prefilled_at is None and any(reading.tokens for reading in readings):
            meter.prefilled_at = time.perf_counter()
            events.append(PrefillProgress(meter.prompt, meter.prompt, meter.cached))
        return events
