"""A generation in slices: while others wait, who needs long gives the engine back after a while and goes on later.

It goes on behind what it has said, with the same constraint and the same random numbers, so the answer is the one that
it would have been. What the engine still knows of the prompt it need not read again; where it has to, the slice is
longer: coming back is never more than a fifth of it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.types import Finished, GenerationEvent, PrefillProgress, SamplingParams, TokenBatch, Usage
from gptoss_tui.errors import EngineError
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.stats import Stats

SLICE_SECONDS = 1.0
"""So long a generation has the engine to itself, whoever waits."""

RETURN_SHARE = 4
"""And so many times as long as it took to come back to where it was."""

_NO_USAGE = Usage(0, 0, 0, 0, 0.0, 0.0)


async def generate(
    host: EngineHost,
    ticket: Ticket,
    prompt: Sequence[int],
    params: SamplingParams,
    stats: Stats,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[GenerationEvent, None]:
    """As `EngineHost.generate`, in slots of the engine. `stats` learn how long it waited and how often."""
    sliced = _Sliced(prompt, params)
    over = False
    while not over:
        async with ticket:
            stats.waited_seconds += ticket.waited
            stats.slices += 1
            turn = _Slice(sliced.asked, clock)
            async with aclosing(host.generate(*sliced.rest())) as events:
                async for event in events:
                    told = sliced.take(event)
                    turn.saw(news=told is not None)
                    over = isinstance(told, Finished) and not turn.is_interrupted(told)
                    if told is not None and (over or not isinstance(told, Finished)):
                        yield told
                    if not turn.ends and host.can_go_on and ticket.is_wanted and turn.is_long:
                        turn.ends = True
                        await host.cancel()  # what was sampled by then still comes


class _Slice:
    """One turn at the engine. It counts from where something new comes; before that it only comes `back`."""

    def __init__(self, back: bool, clock: Callable[[], float]) -> None:
        self.ends = False
        self._clock = clock
        self._began = clock()
        self._new = None if back else self._began

    def saw(self, *, news: bool) -> None:
        """Something happened, and whether it did for the first time."""
        if news and self._new is None:
            self._new = self._clock()

    def is_interrupted(self, finished: Finished) -> bool:
        """Whether it ended because we asked for it. Raises EngineError when somebody else did."""
        if finished.reason == "cancelled" and not self.ends:
            raise EngineError("The engine was stopped in the middle of the answer", hint="ask again")
        return finished.reason == "cancelled"

    @property
    def is_long(self) -> bool:
        """Whether the others may have the engine now."""
        if self._new is None:
            return False
        return self._clock() - self._new >= max(SLICE_SECONDS, RETURN_SHARE * (self._new - self._began))


class _Sliced:
    """The generation as a whole, as far as it came. `asked`: the engine was asked for it before."""

    def __init__(self, prompt: Sequence[int], params: SamplingParams) -> None:
        self.asked = False
        self._prompt = list(prompt)
        self._params = params
        self._said: list[int] = []
        self._first: PrefillProgress | None = None
        self._read = -1
        self._usage = _NO_USAGE

    def rest(self) -> tuple[list[int], SamplingParams]:
        """What is left to ask the engine for."""
        self.asked = True
        params, said = self._params, self._said
        if not said:
            return self._prompt, params
        walk = Walk(params.constraint) if params.constraint is not None else None
        if walk is not None:
            for token_id in said:
                walk.advance(token_id)
        left = None if params.max_tokens is None else params.max_tokens - len(said)
        drawn, constraint = params.drawn + len(said), walk.rest if walk is not None else None
        return [*self._prompt, *said], replace(params, max_tokens=left, drawn=drawn, constraint=constraint)

    def take(self, event: GenerationEvent) -> GenerationEvent | None:
        """The event as it is for the generation as a whole; None when it was told before."""
        match event:
            case PrefillProgress(done=done):
                return self._progress(event) if done > self._read and not self._said else None
            case TokenBatch(tokens=tokens):
                self._said += [token.id for token in tokens]
                return event
            case Finished(reason=reason, usage=usage):
                self._usage = self._with(usage)
                return Finished(reason, self._usage)

    def _progress(self, event: PrefillProgress) -> PrefillProgress:
        self._first = self._first or event
        self._read = event.done
        return replace(event, cached=self._first.cached)

    def _with(self, usage: Usage) -> Usage:
        """What it cost with one more slice."""
        before, cached = self._usage, self._first.cached if self._first is not None else usage.cached_tokens
        return Usage(
            prompt_tokens=len(self._prompt),
            cached_tokens=cached,
            prefilled_tokens=before.prefilled_tokens + usage.prefilled_tokens,
            generated_tokens=len(self._said),
            prefill_seconds=before.prefill_seconds + usage.prefill_seconds,
            decode_seconds=before.decode_seconds + usage.decode_seconds,
        )
