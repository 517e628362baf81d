"""One generation on a server: what is asked, and the events of the contract from what comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from gptoss_tui.engine.remote.detect import Served
from gptoss_tui.engine.remote.dialect import Ended, Exchange, Reading
from gptoss_tui.engine.remote.link import Link, raise_error_in
from gptoss_tui.engine.types import (
    Finished,
    FinishReason,
    GenerationEvent,
    PrefillProgress,
    SamplingParams,
    Token,
    TokenBatch,
    Usage,
)
from gptoss_tui.errors import ContextOverflowError, EngineDiedError, EngineError
from gptoss_tui.vocabulary import VOCAB_SIZE

COSTS_SECONDS = 1.0
"""How long we listen behind the last token: then servers tell what was cached."""


def checked(token_ids: Sequence[int], context: int) -> list[int]:
    """A prompt with room for a token after it. Raises EngineError, ContextOverflowError."""
    prompt = list(token_ids)
    if not prompt or not 0 <= min(prompt) <= max(prompt) < VOCAB_SIZE:
        raise EngineError("A prompt has at least one token, and only those of the vocabulary")
    if len(prompt) >= context:
        raise ContextOverflowError(
            f"The prompt of {len(prompt)} tokens leaves no room in the server's context of {context}",
            hint="start a new conversation, or serve the model with a larger context",
        )
    return prompt


@dataclass(slots=True)
class _Cost:
    """What the generation cost so far. Times are of `time.perf_counter`."""

    prompt: int
    started: float
    cached: int = 0
    first_at: float | None = None
    generated: int = 0

    def finish(self, reason: FinishReason) -> Finished:
        """The event that ends the generation now."""
        now = time.perf_counter()
        first_at = now if self.first_at is None else self.first_at
        usage = Usage(
            prompt_tokens=self.prompt,
            cached_tokens=self.cached,
            prefilled_tokens=self.prompt - self.cached,
            generated_tokens=self.generated,
            prefill_seconds=first_at - self.started,
            decode_seconds=now - first_at,
        )
        return Finished(reason, usage)


@dataclass(slots=True)
class Generation:
    """One generation. The network is read by a task of its own, so that it can be cancelled wherever it waits."""

    link: Link
    served: Served
    prompt: list[int]
    params: SamplingParams
    _arrived: asyncio.Queue[Reading | BaseException | None] = field(default_factory=asyncio.Queue)
    _task: asyncio.Task[None] | None = None
    _cancelled: bool = False

    def cancel(self) -> None:
        """End the connection, wherever the generation is. Idempotent."""
        self._cancelled = True
        self._arrived.put_nowait(None)

    async def run(self) -> AsyncGenerator[GenerationEvent, None]:
        """The events, up to `Finished`. Raises EngineError, EngineDiedError."""
        space = self.served.context - len(self.prompt)
        room = min(self.params.max_tokens or space, space)
        exchange = self.served.dialect.open(self.prompt, self.params, room)
        cost = _Cost(len(self.prompt), time.perf_counter())
        yield PrefillProgress(len(self.prompt), 0, 0)
        self._task = asyncio.create_task(self._read(exchange), name="remote generation")
        ended: FinishReason | None = None
        try:
            while ended is None:
                readings = await self._next()
                for event in _before_tokens(readings, cost):
                    yield event
                tokens, ended = self._take(readings, room - cost.generated)
                cost.generated += len(tokens)
                if tokens:
                    yield TokenBatch(tokens)
            if ended in ("stop", "length"):
                await self._hear_costs(cost)
        finally:
            self._task.cancel()
            await asyncio.wait({self._task})
        if ended == "length" and room == space:
            ended = "context"
        yield cost.finish(ended)

    async def _read(self, exchange: Exchange) -> None:
        """Put what comes into the queue, and None behind it."""
        ended: Ended | None = None
        try:
            async with aclosing(self.link.stream(exchange.path, exchange.body)) as events:
                async for event in events:
                    raise_error_in(event, self.link.address.host)
                    reading = exchange.read(event)
                    ended = ended or reading.ended
                    # The end counts behind what was held back, and behind the costs that follow it.
                    self._arrived.put_nowait(replace(reading, ended=None))
            if ended is None:
                raise EngineDiedError(
                    f"{self.link.address.host} ended its answer in the middle",
                    hint="the conversation is kept; ask again, or look at the server",
                )
            self._arrived.put_nowait(Reading(exchange.finish(ended == "stop"), ended))
        except Exception as error:
            self._arrived.put_nowait(error)

    async def _next(self) -> list[Reading]:
        """All that arrived since the last time, at least one. Raises what went wrong."""
        waiting = [await self._arrived.get()]
        while not self._arrived.empty():
            waiting.append(self._arrived.get_nowait())
        readings: list[Reading] = []
        for one in waiting:
            if isinstance(one, Reading):
                readings.append(one)
            elif isinstance(one, BaseException) and not self._cancelled:
                if readings:
                    self._arrived.put_nowait(one)  # behind the tokens that came before it
                    break
                raise one
        return readings

    async def _hear_costs(self, cost: _Cost) -> None:
        """What a generation cost is told behind its last token. The answer is whole, so nothing here is an error."""
        with contextlib.suppress(TimeoutError, EngineError):
            async with asyncio.timeout(COSTS_SECONDS):
                while not self._task_is_over():
                    _before_tokens(await self._next(), cost)

    def _task_is_over(self) -> bool:
        return self._task is None or (self._task.done() and self._arrived.empty())

    def _take(self, readings: list[Reading], left: int) -> tuple[tuple[Token, ...], FinishReason | None]:
        """The tokens that count, and whether they are the last."""
        tokens: list[Token] = []
        for token in (token for reading in readings for token in reading.tokens):
            tokens.append(token)
            if token.id in self.params.stop_token_ids:
                return tuple(tokens), "stop"
            if len(tokens) == left:
                return tuple(tokens), "length"
        if self._cancelled:
            return tuple(tokens), "cancelled"
        return tuple(tokens), readings[-1].ended if readings else None


def _before_tokens(readings: list[Reading], cost: _Cost) -> list[PrefillProgress]:
    """How far the prompt is, as these tell it; all of it is read when the first token comes."""
    events = [reading.progress for reading in readings if reading.progress is not None]
    for reading in readings:
        if reading.cached is not None:
            cost.cached = min(reading.cached, cost.prompt)
    if cost.first_at is None and any(reading.tokens for reading in readings):
        cost.first_at = time.perf_counter()
        events.append(PrefillProgress(cost.prompt, cost.prompt, cost.cached))
    return events
