"""Compaction: the model summarises a conversation, which then continues from the summary.

The request is appended to the conversation as it is, so that nearly all of the prompt is already in the engine's cache.
The model is made to answer at once, without thinking or calls. Nothing changes until the summary is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, cast

from gptoss_tui.agent.events import CompactionDelta, CompactionFinished, CompactionStarted, Event, PromptProgress
from gptoss_tui.agent.history import History, final_header
from gptoss_tui.engine.types import (
    Engine,
    GenerationEvent,
    PrefillProgress,
    SamplingParams,
    TokenBatch,
)
from gptoss_tui.errors import EngineError, GptOssError
from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.parser import ContentDelta, MessageFinished, StreamParser
from gptoss_tui.harmony.render import assistant_start, render_message
from gptoss_tui.harmony.tokenizer import STOP_TOKENS, Tokenizer

SUMMARY_TOKENS: Final = 2048
"""The maximum length of a summary in tokens; it is also at most a quarter of the context."""

_REQUEST = """\
Sum up our conversation so far, so that you can go on with nothing but your summary. Say what I asked for and want, \
in my words where they matter; what was decided and found out; which files were read, created or changed and what is \
in them now; what is done and what is left to do. No greeting, no plan, only the summary."""

_OPENING = "This is where our conversation stands; what was said before is left out.\n\n"

_UNDER_WAY = "\n\n(You were working on this. What is done already is above. Go on.)"


@dataclass(frozen=True, slots=True)
class Compactor:
    """Compacts `history` using `engine`. `context_limit` is in tokens; `emit` is called with the events in order."""

    engine: Engine
    tokenizer: Tokenizer
    history: History
    sampling: SamplingParams
    context_limit: int
    emit: Callable[[Event], None]

    async def run(self, *, automatic: bool, instructions: str = "", request: str | None = None) -> bool:
        """Compact the conversation; returns whether it worked.

        `request` is the user's request in the running turn, which is kept word for word. `CompactionFinished` is always
        emitted last, also when the task is cancelled.
        """
        before = len(self.history.prompt_ids())
        self.emit(CompactionStarted(tokens=before, automatic=automatic))
        try:
            summary = await self._summarize(instructions)
        except asyncio.CancelledError:
            self.emit(CompactionFinished(tokens=before, error="Interrupted; the conversation is as it was"))
            raise
        except GptOssError as error:
            self.emit(CompactionFinished(tokens=before, error=error.message, hint=error.hint or ""))
            return False
        self.history.begin_again([_OPENING + summary, *([request + _UNDER_WAY] if request else [])])
        self.emit(CompactionFinished(tokens=len(self.history.prompt_ids()), summary=summary))
        return True

    async def _summarize(self, instructions: str) -> str:
        """Generate the summary. Raises EngineError, also when the summary is empty."""
        asked = f"{_REQUEST}\n\n{instructions}" if instructions.strip() else _REQUEST
        room = min(SUMMARY_TOKENS, self.context_limit // 4)
        header = final_header(self.tokenizer)
        prompt = [*self._prompt(asked, room + len(header)), *header]
        params = replace(
            self.sampling,
            max_tokens=room,
            stop_token_ids=STOP_TOKENS,
            keep_prefix=self.history.conversation.preamble_length,
        )
        reader = _SummaryReader(self.tokenizer, header)
        # `Engine.generate` promises an iterator that can be closed: a generator.
        generation = cast("AsyncGenerator[GenerationEvent, None]", self.engine.generate(prompt, params))
        async with aclosing(generation) as events:
            async for event in events:
                match event:
                    case PrefillProgress(total, done, cached):
                        self.emit(PromptProgress(step=0, total=total, done=done, cached=cached))
                    case TokenBatch():
                        if delta := reader.feed([token.id for token in event.tokens]):
                            self.emit(CompactionDelta(text=delta))
                        if reader.over:
                            break
        if not reader.text.strip():
            raise EngineError("The model wrote no summary; the conversation is unchanged", hint="try again")
        return reader.text.strip()

    def _prompt(self, asked: str, room: int) -> list[int]:
        """The prompt: the conversation, without its oldest messages if `room` needs them, and the request."""
        conversation = self.history.conversation
        tokens = conversation.tokens
        question = [*render_message(self.tokenizer, Message("user", asked)), *assistant_start(self.tokenizer)]
        over = len(tokens) + len(question) + room - self.context_limit
        start = conversation.preamble_length
        for entry in conversation.entries:
            if over <= 0:
                break
            over -= len(entry.tokens)
            start += len(entry.tokens)
        return [*tokens[: conversation.preamble_length], *tokens[start:], *question]


class _SummaryReader:
    """Reads the message whose `header` was written for the model, and ignores what comes after it."""

    def __init__(self, tokenizer: Tokenizer, header: list[int]) -> None:
        self._parser = StreamParser(tokenizer)
        self._parser.feed(header)
        self.text = ""
        self.over = False

    def feed(self, token_ids: list[int]) -> str:
        """The text that these tokens add to the summary."""
        added = ""
        for event in self._parser.feed(token_ids):
            if isinstance(event, ContentDelta) and not self.over:
                added += event.text
            self.over = self.over or isinstance(event, MessageFinished)
        self.text += added
        return added
