"""The generations of one turn: the engine runs, tokens become messages and events, and what runs too far is stopped."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from gptoss_tui.agent.budget import Budget, Limits
from gptoss_tui.agent.events import (
    AnswerCited,
    AnswerDone,
    Event,
    PromptProgress,
    RawTokens,
    RunawayDetected,
    StepFinished,
)
from gptoss_tui.agent.grounding import Ground
from gptoss_tui.agent.history import History
from gptoss_tui.agent.meter import StepMeter
from gptoss_tui.agent.runaway import LoopDetector
from gptoss_tui.agent.stream import SampledCall, StepStream
from gptoss_tui.engine.constraint import TokenAutomaton, Walk
from gptoss_tui.engine.types import (
    Engine,
    Finished,
    FinishReason,
    GenerationEvent,
    PrefillProgress,
    SamplingParams,
    TokenBatch,
    Usage,
)
from gptoss_tui.harmony.tokenizer import STOP_TOKENS, Tokenizer
from gptoss_tui.tools.registry import ToolRegistry

Stopped = Literal["thinking", "loop"]
"""Why we ended a generation: its thought was too long, or it repeated itself."""


@dataclass(frozen=True, slots=True)
class GenerationContext:
    """What generations work with. `context_limit` in tokens; `emit` takes every event of the turn, in order.

    `constraint` says what may follow `<|start|>assistant`; where it leaves patches open, they are of files in
    `grounded`.
    """

    engine: Engine
    tokenizer: Tokenizer
    registry: ToolRegistry
    history: History
    sampling: SamplingParams
    limits: Limits
    context_limit: int
    raw: bool
    emit: Callable[[Event], None]
    constraint: TokenAutomaton | None
    grounded: Path | None


class Generations:
    """Generates for the turn `turn_id`, one stream at a time: `open`, `generate` or `feed`, `close`.

    `tool_name` gives the registered name for a recipient, and `called` takes each call when its stream is closed.
    `stopped` says why we ended the last generation, if we did.
    """

    def __init__(
        self,
        context: GenerationContext,
        turn_id: str,
        budget: Budget,
        tool_name: Callable[[str], str],
        called: Callable[[SampledCall], None],
    ) -> None:
        self._context = context
        self._history = context.history
        self._emit = context.emit
        self._turn_id = turn_id
        self._budget = budget
        self._tool_name = tool_name
        self._called = called
        self._item_numbers = itertools.count(1)
        self._steps = 0
        self._meter: StepMeter | None = None
        self._walk: Walk | None = None
        self._ground: Ground | None = None
        self._detector = LoopDetector(0)
        self._thought = 0
        self.stream: StepStream | None = None
        self.stopped: Stopped | None = None

    def open(self) -> StepStream:
        """Begin a generation: what it says goes into this stream."""
        self.stream = StepStream(self._context.tokenizer, self._next_item, self._tool_name)
        self._walk = Walk(self._context.constraint) if self._context.constraint else None
        self._ground = Ground(self._context.grounded) if self._context.grounded else None
        limits = self._context.limits
        self._detector = LoopDetector(limits.repeated_tokens if limits.runaways != "off" else 0)
        self._thought, self.stopped = 0, None
        return self.stream

    def close(self) -> None:
        """The generation is over: its open item closes, its tokens become messages, its call waits for a reply."""
        stream, self.stream = self.stream, None
        if stream is None:
            return
        events = stream.finish()
        self._history.end_generation()
        if stream.call is not None:
            self._called(stream.call)
        self._show(events)

    def settle(self) -> None:
        """Tell what a generation has cost that was cut short."""
        if self._meter is not None:
            self._finish_step(self._meter.usage())

    async def generate(self, stream: StepStream, room: int) -> FinishReason | None:
        """Let the engine go on for at most `room` tokens. Gives why it was cut, None when the model came to an end."""
        if room <= 0:
            return "length"
        self._steps += 1
        self._meter = StepMeter()
        usage: Usage | None = None
        while room > 0 and (finished := await self._run_engine(stream, room, first=usage is None)):
            room -= finished.usage.generated_tokens
            usage = finished.usage if usage is None else _joined(usage, finished.usage)
            if finished.reason != "paused" or self.stopped or stream.over:
                self._finish_step(usage)
                return "length" if self.stopped else _cut(finished.reason, stream)
            await self._ground_patch()
        if usage is None:
            return None
        self._finish_step(usage)
        return "length"

    def feed(self, stream: StepStream, token_ids: list[int]) -> int:
        """Put tokens into the stream and the history. Gives how many of them count."""
        count, events = stream.feed(token_ids)
        self._history.add_sampled(token_ids[:count])
        if self._walk:
            for token in token_ids[:count]:
                self._walk.advance(token)
        if self._context.raw:
            self._emit(RawTokens(text=self._context.tokenizer.decode(token_ids[:count])))
        self._show(events)
        return count

    async def _run_engine(self, stream: StepStream, room: int, *, first: bool) -> Finished | None:
        """One request. None when the engine's events end without their last one."""
        meter = self._meter
        assert meter is not None
        params = replace(
            self._context.sampling,
            max_tokens=room,
            stop_token_ids=STOP_TOKENS,
            keep_prefix=self._history.conversation.preamble_length,
            constraint=self._walk.rest if self._walk else None,
        )
        generation = self._context.engine.generate(self._history.prompt_ids(), params)
        # The contract promises an iterator that can be closed: a generator.
        async with aclosing(cast("AsyncGenerator[GenerationEvent, None]", generation)) as events:
            async for event in events:
                match event:
                    case PrefillProgress(total, done, cached) if first:
                        meter.read(event)
                        self._emit(PromptProgress(step=self._steps, total=total, done=done, cached=cached))
                    case TokenBatch() if not stream.over and self.stopped is None:
                        meter.sampled(len(event.tokens))
                        await self._take(stream, event)
                    case Finished():
                        return event
        return None

    async def _ground_patch(self) -> None:
        """The engine needs to know what the patch that is being written may say next."""
        assert self._walk is not None
        assert self._ground is not None
        grammar = await self._ground.grammar(self._context.tokenizer.decode(self._walk.written))
        rest = self._walk.rest_with(grammar)
        self._walk = Walk(rest) if rest else None

    async def _take(self, stream: StepStream, batch: TokenBatch) -> None:
        token_ids = [token.id for token in batch.tokens]
        was_thinking, left = stream.open == "reasoning", self._thinking_left()
        if was_thinking and left is not None:
            del token_ids[left:]
        count = self.feed(stream, token_ids)
        self._budget.spend(count)
        self._thought += count if was_thinking else 0
        self._look_at(stream, token_ids[:count])
        if self.stopped or (stream.over and token_ids[count - 1] not in STOP_TOKENS):
            await self._context.engine.cancel()

    def _thinking_left(self) -> int | None:
        """Tokens that the thought may still have; None when nothing bounds it."""
        effort = self._history.conversation.preamble.system.effort
        bound = self._context.limits.reasoning_tokens.get(effort, 0)
        return max(bound - self._thought, 0) if bound else None

    def _look_at(self, stream: StepStream, token_ids: list[int]) -> None:
        """Stop a generation that thinks too long or goes round in circles."""
        if stream.over:
            return
        if period := self._detector.feed(token_ids):
            self.stopped = "loop"
            asked = self._context.limits.runaways == "ask"
            what = (
                f"The model repeats the same {period} tokens again and again"
                if period > 1
                else "The model repeats itself"
            )
            self._emit(RunawayDetected(item_id=stream.last_id, kind="tokens", what=what, asked=asked))
        elif stream.open == "reasoning" and self._thinking_left() == 0:
            self.stopped = "thinking"

    def _show(self, events: Iterable[Event]) -> None:
        for event in events:
            self._emit(event)
            if isinstance(event, AnswerDone) and (citations := self._context.registry.cite(event.text)):
                self._emit(AnswerCited(item_id=event.item_id, citations=citations))

    def _finish_step(self, usage: Usage) -> None:
        self._meter = None
        self._emit(
            StepFinished(
                step=self._steps,
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                prefilled_tokens=usage.prefilled_tokens,
                generated_tokens=usage.generated_tokens,
                prefill_seconds=usage.prefill_seconds,
                decode_seconds=usage.decode_seconds,
                context_used=len(self._history.prompt_ids()),
                context_limit=self._context.context_limit,
            )
        )

    def _next_item(self) -> str:
        return f"{self._turn_id}.{next(self._item_numbers)}"


def _joined(first: Usage, second: Usage) -> Usage:
    """The cost of a generation that went on after a pause. Its prompt is that of the first part."""
    return replace(
        first,
        generated_tokens=first.generated_tokens + second.generated_tokens,
        prefill_seconds=first.prefill_seconds + second.prefill_seconds,
        decode_seconds=first.decode_seconds + second.decode_seconds,
    )


def _cut(reason: FinishReason, stream: StepStream) -> FinishReason | None:
    """Why the generation is not whole, None when it is."""
    if stream.over or reason == "stop":
        return None
    if reason == "cancelled":
        raise asyncio.CancelledError
    return reason
