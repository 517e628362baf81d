"""One turn: generate, call tools, generate again, until there is an answer, an interrupt or a limit."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.budget import Budget, Limits
from gptoss_tui.agent.calls import CallRunner, LimitMet
from gptoss_tui.agent.checkpoints import Checkpoints
from gptoss_tui.agent.compaction import Compactor
from gptoss_tui.agent.events import (
    AnswerCited,
    AnswerDone,
    Event,
    Notice,
    PromptProgress,
    RawTokens,
    Recovered,
    RunawayDetected,
    Steered,
    StepFinished,
    TurnFinished,
)
from gptoss_tui.agent.grounding import Ground
from gptoss_tui.agent.history import History, final_header
from gptoss_tui.agent.meter import StepMeter
from gptoss_tui.agent.runaway import LoopDetector
from gptoss_tui.agent.stream import StepStream
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
from gptoss_tui.errors import GptOssError
from gptoss_tui.harmony.tokenizer import STOP_TOKENS, Tokenizer
from gptoss_tui.tools.registry import ToolRegistry

Stopped = Literal["thinking", "loop"]
"""Why we ended a generation: its thought was too long, or it repeated itself."""

_log = logging.getLogger(__name__)

_NO_ROOM = LimitMet("The context is full", "sum it up (/compact), start a new conversation, or give a larger --context")
_NO_TOKENS = LimitMet("The turn has used up its tokens before the answer was complete", "say `continue`")
_LOOP = LimitMet("The model repeats itself, so it was stopped", "say `continue`, or ask for something else")
_NO_ANSWER = LimitMet("The model ended the turn without an answer", "ask again, or change the reasoning effort")


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What a turn works with. `context_limit` in tokens; `emit` takes every event of the turn, in order.

    `before_step` is called before the model goes on. A conversation of `compact_at` tokens is compacted (None: never).
    `constraint` says what may follow `<|start|>assistant`; where it leaves patches open, they are of files in
    `grounded`.
    """

    engine: Engine
    tokenizer: Tokenizer
    registry: ToolRegistry
    approvals: Approvals
    checkpoints: Checkpoints
    history: History
    sampling: SamplingParams
    limits: Limits
    context_limit: int
    raw: bool
    emit: Callable[[Event], None]
    before_step: Callable[[], None]
    compact_at: int | None = None
    constraint: TokenAutomaton | None = None
    grounded: Path | None = None


class Turn:
    """Runs in a task of its own. The user's message `text` stands in the history already.

    `interrupt` cancels that task once; the turn then closes what is open, so that the conversation is valid and can go
    on, and ends with `TurnFinished` as always.
    """

    def __init__(self, context: TurnContext, turn_id: str, text: str) -> None:
        self._context = context
        self._history = context.history
        self._emit = context.emit
        self.turn_id = turn_id
        self._item_numbers = itertools.count(1)
        self._budget = Budget(context.limits, context.context_limit)
        self._calls = CallRunner(
            registry=context.registry,
            approvals=context.approvals,
            checkpoints=context.checkpoints,
            history=context.history,
            tokenizer=context.tokenizer,
            limits=context.limits,
            budget=self._budget,
            emit=context.emit,
        )
        self._stream: StepStream | None = None
        self._meter: StepMeter | None = None
        self._walk: Walk | None = None
        self._ground: Ground | None = None
        self._steps = 0
        self._answer_forced = False
        self._answer = ""
        self._incomplete = False
        self._detector = LoopDetector(0)
        self._thought = 0
        self._stopped: Stopped | None = None
        self._task: asyncio.Task[None] | None = None
        self._began = False
        self._interrupted = False
        self._said = [text]
        self._steering: list[str] = []
        self._compacted_at = 0
        self.over = False

    def start(self) -> asyncio.Task[None]:
        """Begin. The task ends without an error, whatever happens in the turn."""
        self._task = asyncio.create_task(self._run(), name=f"turn {self.turn_id}")
        return self._task

    def interrupt(self) -> None:
        """End the turn as `interrupted` at its next await. Idempotent."""
        if self._interrupted:
            return
        self._interrupted = True
        # A task that is cancelled before its first step would never get to say how the turn ended.
        if self._task is not None and self._began:
            self._task.cancel()

    def steer(self, text: str) -> None:
        """Give the model a message before its next step. Call it only while the turn is not `over`."""
        self._steering.append(text)

    async def _run(self) -> None:
        self._began = True
        try:
            finished = await self._loop()
        except asyncio.CancelledError:
            finished = TurnFinished(reason="interrupted")
        except GptOssError as error:
            finished = TurnFinished(reason="failed", error=error.message, hint=error.hint or "")
        except Exception as error:
            _log.exception("turn %s failed", self.turn_id)
            what = f"An internal error ended the turn: {type(error).__name__}: {error}"
            finished = TurnFinished(reason="failed", error=what, hint="the conversation is kept; please report this")
        self._settle()
        self.over = True
        unsent = tuple(self._steering)
        self._emit(replace(finished, answer=self._answer, unsent=unsent, incomplete=self._incomplete))

    async def _loop(self) -> TurnFinished:
        while True:
            if self._interrupted:
                raise asyncio.CancelledError
            self._context.before_step()
            self._take_steering()
            await self._make_room()
            stream, limit = await self._step()
            if stream.call is not None:
                limit = await self._calls.handle(stream.call) or limit
            elif limit is None and not self._steering:
                return TurnFinished(reason="done")
            if limit is not None:
                return TurnFinished(reason="limit", error=limit.error, hint=limit.hint)

    def _take_steering(self) -> None:
        while self._steering:
            text = self._steering.pop(0)
            self._history.add_steering(text)
            self._said.append(text)
            self._answer_forced = False
            self._emit(Steered(text=text))

    async def _make_room(self) -> None:
        """Compact a conversation that nearly fills the context; again only when it has grown by a quarter of that."""
        limit, at = self._context.context_limit, self._context.compact_at
        used = len(self._history.prompt_ids())
        if at is None or used < at or used < self._compacted_at + limit // 4:
            return
        if len(self._history.conversation.entries) <= len(self._said):
            return  # there is nothing but what was just said
        compactor = Compactor(
            engine=self._context.engine,
            tokenizer=self._context.tokenizer,
            history=self._history,
            sampling=self._context.sampling,
            context_limit=limit,
            emit=self._emit,
        )
        await compactor.run(automatic=True, request="\n\n".join(self._said))
        self._compacted_at = len(self._history.prompt_ids())

    # -- a step: one generation, or two when the first one's tokens run out -----------------------------------------

    async def _step(self) -> tuple[StepStream, LimitMet | None]:
        """Generate up to a call or the answer. Gives the limit when there is neither."""
        stream = self._open_stream()
        cut: FinishReason | None = "length"
        if self._room() > 0:
            cut = await self._generate(stream, self._room())
        if cut is not None and self._stopped is None and stream.open == "answer":
            cut = await self._generate(stream, self._answer_room())
        self._close_stream()
        if self._stopped == "loop" and (stream.answer is not None or self._context.limits.runaways == "ask"):
            self._take_answer(stream, cut)
            return stream, _LOOP
        if stream.call is not None:
            return stream, self._out_of_tokens() if cut is not None and self._stopped is None else None
        if stream.answer is None and stream.preamble and cut is None:
            self._answer = stream.preamble
            return stream, None
        if stream.answer is None:
            return await self._force_answer(stream, cut)
        self._take_answer(stream, cut)
        return stream, self._out_of_tokens() if cut is not None else None

    async def _force_answer(self, ended: StepStream, cut: FinishReason | None) -> tuple[StepStream, LimitMet | None]:
        """Thinking ended without an answer: write the answer's header for the model, once a turn, and go on."""
        if self._answer_forced or self._answer_room() <= 0:
            self._take_answer(ended, cut)
            return ended, self._out_of_tokens() if cut is not None else _NO_ANSWER
        self._answer_forced = True
        why = _why(cut, self._stopped)
        stream = self._open_stream()
        self._feed(stream, final_header(self._context.tokenizer))
        self._emit(Recovered(item_id=stream.last_id, what=f"{why}, so the model was made to answer now"))
        cut = await self._generate(stream, self._answer_room())
        self._close_stream()
        self._take_answer(stream, cut)
        if self._stopped == "loop":
            return stream, _LOOP
        return stream, self._out_of_tokens() if cut is not None else None

    async def _generate(self, stream: StepStream, room: int) -> FinishReason | None:
        """Let the engine go on for at most `room` tokens. Gives why it was cut, None when the model came to an end."""
        if room <= 0:
            return "length"
        self._steps += 1
        self._meter = StepMeter()
        usage: Usage | None = None
        while room > 0 and (finished := await self._run_engine(stream, room, first=usage is None)):
            room -= finished.usage.generated_tokens
            usage = finished.usage if usage is None else _joined(usage, finished.usage)
            if finished.reason != "paused" or self._stopped or stream.over:
                self._finish_step(usage)
                return "length" if self._stopped else _cut(finished.reason, stream)
            await self._ground_patch()
        if usage is None:
            return None
        self._finish_step(usage)
        return "length"

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
                    case TokenBatch() if not stream.over and self._stopped is None:
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
        count = self._feed(stream, token_ids)
        self._budget.spend(count)
        self._thought += count if was_thinking else 0
        self._look_at(stream, token_ids[:count])
        if self._stopped or (stream.over and token_ids[count - 1] not in STOP_TOKENS):
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
            self._stopped = "loop"
            asked = self._context.limits.runaways == "ask"
            what = (
                f"The model repeats the same {period} tokens again and again"
                if period > 1
                else "The model repeats itself"
            )
            self._emit(RunawayDetected(item_id=stream.last_id, kind="tokens", what=what, asked=asked))
        elif stream.open == "reasoning" and self._thinking_left() == 0:
            self._stopped = "thinking"

    def _feed(self, stream: StepStream, token_ids: list[int]) -> int:
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

    # -- streams ----------------------------------------------------------------------------------------------------

    def _open_stream(self) -> StepStream:
        self._stream = StepStream(self._context.tokenizer, self._next_item, self._calls.tool_name)
        self._walk = Walk(self._context.constraint) if self._context.constraint else None
        self._ground = Ground(self._context.grounded) if self._context.grounded else None
        limits = self._context.limits
        self._detector = LoopDetector(limits.repeated_tokens if limits.runaways != "off" else 0)
        self._thought, self._stopped = 0, None
        return self._stream

    def _next_item(self) -> str:
        return f"{self.turn_id}.{next(self._item_numbers)}"

    def _close_stream(self) -> None:
        """The generation is over: its open item closes, its tokens become messages, its call waits for a reply."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        events = stream.finish()
        self._history.end_generation()
        if stream.call is not None:
            self._calls.open(stream.call)
        self._show(events)

    def _take_answer(self, stream: StepStream, cut: FinishReason | None) -> None:
        """What the model said is the turn's answer, whole or as far as it came."""
        self._answer = stream.answer if stream.answer is not None else stream.preamble or ""
        self._incomplete = cut is not None
        if stream.answer is not None and not stream.answer.strip():
            self._emit(Notice(text="The model gave an empty answer", hint="ask again"))

    def _settle(self) -> None:
        """Close what an interrupt or an error left open. Nothing here waits."""
        stream = self._stream
        self._close_stream()
        if stream is not None and stream.answer is not None:
            self._answer, self._incomplete = stream.answer, not stream.over
        if self._meter is not None:
            self._finish_step(self._meter.usage())
        self._calls.settle()

    # -- what is left -----------------------------------------------------------------------------------------------

    def _room(self) -> int:
        return self._budget.room(len(self._history.prompt_ids()))

    def _answer_room(self) -> int:
        return self._budget.answer_room(len(self._history.prompt_ids()))

    def _out_of_tokens(self) -> LimitMet:
        self._incomplete = True
        left = self._budget.context_left(len(self._history.prompt_ids()))
        return _NO_ROOM if left <= 0 else _NO_TOKENS


def _why(cut: FinishReason | None, stopped: Stopped | None) -> str:
    """Why the answer has to be asked for."""
    if stopped is not None:
        return {"thinking": "the tokens for thinking were used up", "loop": "the model repeated itself"}[stopped]
    return "the tokens ran out before the answer" if cut is not None else "the turn ended without an answer"


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
