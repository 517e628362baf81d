"""The turns of a request on the engine: each needs a slot of the gate, and ends early when others wait."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from gptoss_tui.engine import slices
from gptoss_tui.engine.types import Finished, GenerationEvent, SamplingParams, ScoredPosition
from gptoss_tui.errors import EngineError
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.stats import Stats


@dataclass(frozen=True, slots=True)
class _Slots:
    """Implements `slices.Turns`. A generation is only stopped by closing it."""

    host: EngineHost
    ticket: Ticket
    stats: Stats
    is_stopped: bool = False

    @property
    def is_wanted(self) -> bool:
        return self.ticket.is_wanted

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[EngineHost]:
        async with self.ticket:
            self.stats.waited_seconds += self.ticket.waited
            self.stats.slices += 1
            yield self.host


async def generate(
    host: EngineHost,
    ticket: Ticket,
    prompt: Sequence[int],
    params: SamplingParams,
    stats: Stats,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[GenerationEvent, None]:
    """Like `EngineHost.generate`, in slots of the engine. Records in `stats` how long and how often it waited.

    Raises EngineError if the generation was cancelled from elsewhere.
    """
    async with aclosing(slices.generate(_Slots(host, ticket, stats), prompt, params, clock)) as events:
        async for event in events:
            if isinstance(event, Finished) and event.reason == "cancelled":
                raise _stopped()
            yield event


async def score(
    host: EngineHost, ticket: Ticket, token_ids: Sequence[int], top: int, stats: Stats
) -> list[ScoredPosition]:
    """The predictions after every token, in slots of the engine. `stats` and errors are as in `generate`."""
    async with aclosing(slices.score(_Slots(host, ticket, stats), token_ids, top)) as batches:
        positions = [position async for batch in batches for position in batch]
    if len(positions) < len(token_ids):
        raise _stopped()
    return positions


def _stopped() -> EngineError:
    return EngineError("The engine was stopped in the middle of the answer", hint="ask again")
