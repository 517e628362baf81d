"""The generations of one turn: runs the engine, turns tokens into messages and events, and stops runaways."""

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
"""Why a generation was stopped: the model thought too long, or repeated itself."""


@dataclass(frozen=True, slots=True)
class GenerationContext:
    """The parts that generations use. `context_limit` is in tokens; `emit` is called with every event in order.

    `constraint` says what may follow `<|start|>assistant`. `grounded` is the folder whose files patches must match
    when `constraint` asks for it, or None.
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
    """Generates for the turn `turn_id`, one stream at a time: `open`, then `generate` or `feed`, then `close`.

    `tool_name` returns the registered tool name for a recipient. `called` is called with the call of a stream when the
    stream is closed. `stopped` says why the last generation was stopped, or is None if it was not.
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
        """Begin a generation and return its stream."""
        self.stream = StepStream(self._context.tokenizer, self._next_item, self._tool_name)
        self._walk = Walk(self._context.constraint) if self._context.constraint else None
        self._ground = Ground(self._context.grounded) if self._context.grounded else None
        limits = self._context.limits
        self._detector = LoopDetector(limits.repeated_tokens if limits.runaways != "off" else 0)
        self._thought, self.stopped = 0, None
        return self.stream

    def close(self) -> None:
        """End the generation: close its open item, add its messages to the history, and hand over its call."""
        stream, self.stream = self.stream, None
        if stream is None:
            return
        events = stream.finish()
        self._history.end_generation()
        if stream.call is not None:
            self._called(stream.call)
        self._show(events)

    def settle(self) -> None:
        """Emit `StepFinished` for a generation that was cut short."""
        if self._meter is not None:
            self._finish_step(self._meter.usage())

    async def generate(self, stream: StepStream, room: int) -> FinishReason | None:
        """Generate at most `room` tokens. Returns why the generation was cut off, or None when the model finished."""
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
        """Add tokens to the stream and the history. Returns how many of them count."""
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
        """Make one request to the engine. Returns None when the events end without `Finished`."""
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
        # `Engine.generate` promises an iterator that can be closed: a generator.
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
        """Update the constraint with what the patch being written may contain next."""
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
        """How many more tokens the model may think; None when there is no limit."""
        effort = self._history.conversation.preamble.system.effort
        bound = self._context.limits.reasoning_tokens.get(effort, 0)
        return max(bound - self._thought, 0) if bound else None

    def _look_at(self, stream: StepStream, token_ids: list[int]) -> None:
        """Stop a generation that thinks too long or repeats itself."""
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
    """The usage of a generation that continued after a pause. The prompt is that of the first part."""
    return replace(
        first,
        generated_tokens=first.generated_tokens + second.generated_tokens,
        prefill_seconds=first.prefill_seconds + second.prefill_seconds,
        decode_seconds=first.decode_seconds + second.decode_seconds,
    )


def _cut(reason: FinishReason, stream: StepStream) -> FinishReason | None:
    """Why the generation is incomplete, or None when it is complete. Raises CancelledError if it was cancelled."""
    if stream.over or reason == "stop":
        return None
    if reason == "cancelled":
        raise asyncio.CancelledError
    return reason
