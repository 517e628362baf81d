"""Runs a generation or scoring in slices: when others wait, a long one gives up the engine and continues later.

A generation continues after the tokens it has produced, with the same constraint and the same random numbers, so the
answer is the same as without interruption. A scoring continues at the next position. Tokens that the engine still has
cached need not be run again; where they must be, the slice is longer, so returning takes at most a fifth of it.
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
"""A slice lasts at least this long, even when others wait."""

RETURN_SHARE = 4
"""A slice also lasts at least this many times as long as it took to return to the previous position."""

_NO_USAGE = Usage(0, 0, 0, 0, 0.0, 0.0)


class Runner(Protocol):
    """An engine during one turn."""

    @property
    def can_go_on(self) -> bool:
        """Whether a cancelled request can be continued later."""
        ...

    def generate(self, token_ids: Sequence[int], params: SamplingParams) -> AsyncGenerator[GenerationEvent, None]:
        """Like `Engine.generate`."""
        ...

    def score(self, token_ids: Sequence[int], top: int, start: int) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
        """Like `Engine.score`."""
        ...

    async def cancel(self) -> None:
        """Like `Engine.cancel`."""
        ...


class Turns(Protocol):
    """The turns of one generation or scoring on an engine that others want to use, too."""

    @property
    def is_wanted(self) -> bool:
        """Whether another request waits for the engine and should get it next."""
        ...

    @property
    def is_stopped(self) -> bool:
        """Whether the request was cancelled by its owner."""
        ...

    def turn(self) -> AbstractAsyncContextManager[Runner]:
        """Wait for the engine; it is available inside the block."""
        ...


async def generate(
    turns: Turns, prompt: Sequence[int], params: SamplingParams, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[GenerationEvent, None]:
    """Like `Engine.generate`, in `turns`."""
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
                    await turn.end_if_wanted(turns, engine)  # tokens sampled before the end still arrive


async def score(
    turns: Turns, token_ids: Sequence[int], top: int, start: int = 0, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[tuple[ScoredPosition, ...], None]:
    """Like `Engine.score`, in `turns`. Yields fewer positions if it is stopped."""
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
    """One turn on the engine. Its time counts from the first new output; until then it is only on its way `back`."""

    def __init__(self, back: bool, clock: Callable[[], float]) -> None:
        self.ends = False
        self._clock = clock
        self._began = clock()
        self._new = None if back else self._began

    def saw(self, *, news: bool) -> None:
        """Note that something happened; `news` says whether it is new to the request."""
        if news and self._new is None:
            self._new = self._clock()

    async def end_if_wanted(self, turns: Turns, engine: Runner) -> None:
        """Cancel the running request if its slice is long enough, others wait, and it can continue later."""
        if not self.ends and engine.can_go_on and turns.is_wanted and self.is_long:
            self.ends = True
            await engine.cancel()

    def is_interrupted(self, finished: Finished) -> bool:
        """Whether the request ended only because others wanted the engine."""
        return self.ends and finished.reason == "cancelled"

    @property
    def is_long(self) -> bool:
        """Whether the slice is over, so that others may have the engine."""
        if self._new is None:
            return False
        return self._clock() - self._new >= max(SLICE_SECONDS, RETURN_SHARE * (self._new - self._began))


class _Sliced:
    """The generation as a whole, so far. `asked`: the engine has been asked for it before."""

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
        """The prompt and parameters for the rest of the generation."""
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
        """Translate an event of a slice to one of the whole generation; None if it was already reported."""
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
        """The last event of a generation that was stopped between turns."""
        return Finished("cancelled", self._usage)

    def _progress(self, event: PrefillProgress) -> PrefillProgress:
        self._first = self._first or event
        self._read = event.done
        return replace(event, cached=self._first.cached)

    def _with(self, usage: Usage) -> Usage:
        """The total usage including one more slice."""
        before, cached = self._usage, self._first.cached if self._first is not None else usage.cached_tokens
        return Usage(
            prompt_tokens=len(self._prompt),
            cached_tokens=cached,
            prefilled_tokens=before.prefilled_tokens + usage.prefilled_tokens,
            generated_tokens=len(self._said),
            prefill_seconds=before.prefill_seconds + usage.prefill_seconds,
            decode_seconds=before.decode_seconds + usage.decode_seconds,
        )
