"""One turn: generate and call tools in a loop, until there is an answer, an interrupt, an error or a limit is met."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from gptoss_tui.agent import hints
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.budget import Budget
from gptoss_tui.agent.calls import CallRunner, LimitMet
from gptoss_tui.agent.checkpoints import Checkpoints
from gptoss_tui.agent.compaction import Compactor
from gptoss_tui.agent.events import Notice, Recovered, Steered, TurnFinished
from gptoss_tui.agent.generations import GenerationContext, Generations, Stopped
from gptoss_tui.agent.history import final_header
from gptoss_tui.agent.stream import StepStream
from gptoss_tui.engine.types import FinishReason
from gptoss_tui.errors import GptOssError

_log = logging.getLogger(__name__)

_NO_ROOM = LimitMet("The context is full", hints.NO_ROOM)
_NO_TOKENS = LimitMet("The turn has used up its tokens before the answer was complete", hints.NO_TOKENS)
_LOOP = LimitMet("The model repeats itself, so it was stopped", hints.LOOP)
_NO_ANSWER = LimitMet("The model ended the turn without an answer", "ask again, or change the reasoning effort")


@dataclass(frozen=True, slots=True)
class TurnContext(GenerationContext):
    """The parts that a turn uses.

    `before_step` is called before each step of the model. The conversation is compacted when it has `compact_at`
    tokens (None: never).
    """

    approvals: Approvals
    checkpoints: Checkpoints
    before_step: Callable[[], None]
    compact_at: int | None


class Turn:
    """One turn, which runs in its own task. The user's message `text` must already be in the history.

    `interrupt` cancels that task once. The turn then closes whatever is open, so that the conversation stays valid and
    can be continued, and ends with `TurnFinished` as always.
    """

    def __init__(self, context: TurnContext, turn_id: str, text: str) -> None:
        self._context = context
        self._history = context.history
        self._emit = context.emit
        self.turn_id = turn_id
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
        self._generations = Generations(context, turn_id, self._budget, self._calls.tool_name, self._calls.open)
        self._answer_forced = False
        self._answer = ""
        self._incomplete = False
        self._task: asyncio.Task[None] | None = None
        self._began = False
        self._interrupted = False
        self._said = [text]
        self._steering: list[str] = []
        self._compacted_at = 0
        self.over = False

    def start(self) -> asyncio.Task[None]:
        """Start the turn. The task never raises, whatever happens in the turn."""
        self._task = asyncio.create_task(self._run(), name=f"turn {self.turn_id}")
        return self._task

    def interrupt(self) -> None:
        """End the turn as `interrupted` at its next await. Idempotent."""
        if self._interrupted:
            return
        self._interrupted = True
        # A task that is cancelled before its first step would never get to emit `TurnFinished`.
        if self._task is not None and self._began:
            self._task.cancel()

    def steer(self, text: str) -> None:
        """Queue a message for the model's next step. Must not be called once the turn is `over`."""
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
        """Compact the conversation when it nearly fills the context.

        After a compaction it must first grow by a quarter of the context before it is compacted again.
        """
        limit, at = self._context.context_limit, self._context.compact_at
        used = len(self._history.prompt_ids())
        if at is None or used < at or used < self._compacted_at + limit // 4:
            return
        if len(self._history.conversation.entries) <= len(self._said):
            return  # there is nothing except the messages of this turn
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

    # -- a step: one generation, or two when the first one runs out of tokens ---------------------------------------

    async def _step(self) -> tuple[StepStream, LimitMet | None]:
        """Generate up to a tool call or the answer. Also returns the limit that was met, if any."""
        stream = self._generations.open()
        cut: FinishReason | None = "length"
        if self._room() > 0:
            cut = await self._generations.generate(stream, self._room())
        if cut is not None and self._generations.stopped is None and stream.open == "answer":
            cut = await self._generations.generate(stream, self._answer_room())
        self._generations.close()
        if self._generations.stopped == "loop" and (
            stream.answer is not None or self._context.limits.runaways == "ask"
        ):
            self._take_answer(stream, cut)
            return stream, _LOOP
        if stream.call is not None:
            return stream, self._out_of_tokens() if cut is not None and self._generations.stopped is None else None
        if stream.answer is None and stream.preamble and cut is None:
            self._answer = stream.preamble
            return stream, None
        if stream.answer is None:
            return await self._force_answer(stream, cut)
        self._take_answer(stream, cut)
        return stream, self._out_of_tokens() if cut is not None else None

    async def _force_answer(self, ended: StepStream, cut: FinishReason | None) -> tuple[StepStream, LimitMet | None]:
        """Make the model answer after a generation without one, by writing the header of a final message for it.

        This is done at most once per turn, or again after a steering message.
        """
        if self._answer_forced or self._answer_room() <= 0:
            self._take_answer(ended, cut)
            return ended, self._out_of_tokens() if cut is not None else _NO_ANSWER
        self._answer_forced = True
        why = _why(cut, self._generations.stopped)
        stream = self._generations.open()
        self._generations.feed(stream, final_header(self._context.tokenizer))
        self._emit(Recovered(item_id=stream.last_id, what=f"{why}, so the model was made to answer now"))
        cut = await self._generations.generate(stream, self._answer_room())
        self._generations.close()
        self._take_answer(stream, cut)
        if self._generations.stopped == "loop":
            return stream, _LOOP
        return stream, self._out_of_tokens() if cut is not None else None

    def _take_answer(self, stream: StepStream, cut: FinishReason | None) -> None:
        """Take what the model said as the turn's answer, complete or not."""
        self._answer = stream.answer if stream.answer is not None else stream.preamble or ""
        self._incomplete = cut is not None
        if stream.answer is not None and not stream.answer.strip():
            self._emit(Notice(text="The model gave an empty answer", hint="ask again"))

    def _settle(self) -> None:
        """Close what an interrupt or an error left open. Never blocks or awaits."""
        stream = self._generations.stream
        self._generations.close()
        if stream is not None and stream.answer is not None:
            self._answer, self._incomplete = stream.answer, not stream.over
        self._generations.settle()
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
    """The reason, for the user, why the model is made to answer."""
    if stopped is not None:
        return {"thinking": "the tokens for thinking were used up", "loop": "the model repeated itself"}[stopped]
    return "the tokens ran out before the answer" if cut is not None else "the turn ended without an answer"
