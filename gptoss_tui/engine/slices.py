"""A generation or a scoring in slices: while others wait, a long one gives the engine back and goes on later.

A generation goes on behind what it has said, with the same constraint and the same random numbers, so the answer is the
one that it would have been; a scoring goes on at the next position. What the engine still knows of the tokens it need
not read again; where it has to, the slice is longer: coming back is never more than a fifth of it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Protocol

from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.types import (
    Finished,
    GenerationEvent,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    TokenBatch,
    Usage,
)

SLICE_SECONDS = 1.0
"""So long one has the engine to itself, whoever waits."""

RETURN_SHARE = 4
"""And so many times as long as it took to come back to where it was."""

_NO_USAGE = Usage(0, 0, 0, 0, 0.0, 0.0)


class Runner(Protocol):
    """An engine during a turn at it."""

    @property
    def can_go_on(self) -> bool:
        """Whether what was cancelled can go on later."""
        ...

    def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        """As `Engine.generate`."""
        ...

    def score(self, token_ids: Sequence[int], top: int, start: int) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        """As `Engine.score`."""
        ...

    async def cancel(self) -> None:
        """As `Engine.cancel`."""
        ...


class Turns(Protocol):
    """The turns of one generation or scoring at an engine that others want, too."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits who would have the engine next."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Whether whoever asked wants no more of it."""
        ...

    def turn(self) -> AbstractAsyncContextManager[Runner]:
        """Wait for the engine, and have it inside of the block."""
        ...


async def generate(
    turns: Turns, prompt: Sequence[int], params: SamplingParams, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[GenerationEvent, None]:
    """As `Engine.generate`, in `turns`."""
    sliced = _Sliced(prompt, params)
    over = False
    while not over:
        async with turns.turn() as engine:
            if turns.is_stopped:
                yield sliced.cancelled()
                return
            turn = _Slice(sliced.asked, clock)
            async with aclosing(engine.generate(*sliced.rest())) as events:
                async for event in events:
                    told = sliced.take(event)
                    turn.saw(news=told is not None)
                    over = isinstance(told, Finished) and (turns.is_stopped or not turn.is_interrupted(told))
                    if told is not None and (over or not isinstance(told, Finished)):
                        yield told
                    await turn.end_if_wanted(turns, engine)  # what was sampled by then still comes


async def score(
    turns: Turns, token_ids: Sequence[int], top: int, start: int = 0, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
    """As `Engine.score`, in `turns`. Fewer positions come when it is stopped."""
    done = start
    while done < len(token_ids):
        async with turns.turn() as engine:
            if turns.is_stopped:
                return
            turn = _Slice(done > start, clock)
            async with aclosing(engine.score(token_ids, top, done)) as batches:
                async for batch in batches:
                    done += len(batch)
                    turn.saw(news=True)
                    yield batch
                    await turn.end_if_wanted(turns, engine)
            if not turn.ends or turns.is_stopped:
                return


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

    async def end_if_wanted(self, turns: Turns, engine: Runner) -> None:
        """Stop what runs when it has had the engine for long enough, somebody else wants it, and it can go on later."""
        if not self.ends and engine.can_go_on and turns.is_wanted and self.is_long:
            self.ends = True
            await engine.cancel()

    def is_interrupted(self, finished: Finished) -> bool:
        """Whether it ended because the others may have the engine."""
        return self.ends and finished.reason == "cancelled"

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
        self._walk: Walk | None = None
        self._said: list[int] = []
        self._walked = 0
        self._first: PrefillProgress | None = None
        self._read = -1
        self._usage = _NO_USAGE

    def rest(self) -> tuple[list[int], SamplingParams]:
        """What is left to ask the engine for."""
        self.asked = True
        params, said = self._params, self._said
        if not said:
            return self._prompt, params
        left = None if params.max_tokens is None else params.max_tokens - len(said)
        params = replace(params, max_tokens=left, drawn=params.drawn + len(said))
        if params.constraint is not None:
            self._walk = walk = self._walk or Walk(params.constraint)
            for token_id in said[self._walked :]:
                walk.advance(token_id)
            self._walked = len(said)
            params = replace(params, constraint=walk.rest)
        return [*self._prompt, *said], params

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

    def cancelled(self) -> Finished:
        """The last event of one that was stopped between its turns."""
        return Finished("cancelled", self._usage)

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
