"""Runs a request: generates, runs calls of the server's own tools, and generates again until the answer is complete."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Protocol

from gptoss_tui.agent.automaton import message_automaton
from gptoss_tui.agent.budget import fit_output
from gptoss_tui.agent.history import final_header
from gptoss_tui.agent.runaway import LoopDetector
from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, Walk
from gptoss_tui.engine.types import Finished, GenerationEvent, PrefillProgress, SamplingParams, Token, TokenBatch
from gptoss_tui.harmony.messages import ToolNamespace
from gptoss_tui.harmony.parser import normalize_recipient
from gptoss_tui.harmony.tokenizer import STOP_TOKENS, Tokenizer
from gptoss_tui.server import slices
from gptoss_tui.server.dialogue import Dialogue
from gptoss_tui.server.errors import not_supported
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.prompt import Opening, converse, too_long
from gptoss_tui.server.reader import TEXTS, Piece, Reader
from gptoss_tui.server.stats import Stats

EndReason = Literal["stop", "call", "length", "loop"]

MAX_TOOL_CALLS = 20
MAX_STRAY_CALLS = 3
"""How often the model is told that a tool does not exist before the turn ends with what it has said."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to answer. `max_tokens` is the limit for the whole turn, `stops` end an answer.

    `max_tool_calls` limits calls of the server's own tools. The turn ends after `repeated_tokens` tokens that only
    repeat earlier ones (0: never). The context must have room for `min_room` tokens after the prompt.
    """

    sampling: SamplingParams
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    max_tool_calls: int = MAX_TOOL_CALLS
    repeated_tokens: int = 0
    min_room: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over. This is the last event."""

    reason: EndReason


class Toolbox(Protocol):
    """The tools that the server runs itself."""

    @property
    def namespaces(self) -> Sequence[ToolNamespace]:
        """The declarations for the system message."""
        ...

    @property
    def recipients(self) -> Sequence[str]:
        """The names that calls are addressed to."""
        ...

    async def run(self, recipient: str, arguments: str) -> tuple[str, tuple[str, ...]]:
        """Run a call. Returns the output, as text for the model, and the addresses it comes from. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class ToolBegins:
    """The server starts to run a call, whose message has just been closed."""

    recipient: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolRan:
    """A call of the server's own tools has finished."""

    recipient: str
    arguments: str
    output: str
    sources: tuple[str, ...] = ()


TurnEvent = Piece | ToolBegins | ToolRan | Ended


class Turn:
    """One answer to a dialogue that `take_in` has prepared. `stats` are up to date at any time.

    The constructor raises ApiError if the prompt does not fit.
    """

    def __init__(
        self,
        host: EngineHost,
        ticket: Ticket,
        dialogue: Dialogue,
        opening: Opening,
        options: Options,
        toolbox: Toolbox | None = None,
    ) -> None:
        self._host = host
        self._ticket = ticket
        self._dialogue = dialogue
        self._options = options
        self._toolbox = toolbox
        if not host.loaded().masks and (dialogue.answer.grammar is not None or dialogue.choice.mode == "required"):
            raise not_supported("A form of answers, or a call that is required, with a model on another server", None)
        self._known = {tool.recipient for tool in dialogue.tools} | set(toolbox.recipients if toolbox else ())
        self._conversation = converse(host, dialogue, opening)
        self._context = host.loaded().context
        self._detector = LoopDetector(options.repeated_tokens)
        self._reason: EndReason = "stop"
        self.stats = Stats(prompt_tokens=len(self._conversation.prompt_ids()))
        if self.stats.prompt_tokens + options.min_room > self._context:
            raise too_long(self.stats.prompt_tokens, self._context, options.min_room)

    async def run(self) -> AsyncGenerator[TurnEvent, None]:
        """Yield the events of the turn. Closing the iterator stops the engine. Raises GptOssError."""
        forced, stray, own = False, 0, 0
        while True:
            reader = Reader(self._host.tokenizer, self._options.stops)
            async with aclosing(self._generate(reader, forced=forced)) as pieces:
                async for piece in pieces:
                    yield piece
            self._keep(reader)
            call = next((closed for closed in reader.closed if closed.kind == "call"), None)
            if call is None and not forced and self._lacks_answer(reader):
                forced = True  # the model ended without an answer, so the answer's header is written for it
                continue
            if call is None or not call.complete:
                break
            recipient = self.meant(call.recipient)
            if self._dialogue.tool(recipient) is not None:
                self._reason = "call"
                break
            if self.is_own(recipient) and own < self._options.max_tool_calls:
                own += 1
                yield ToolBegins(recipient, call.text)
                output, sources = await self._run_own(recipient, call.text)
                yield ToolRan(recipient, call.text, output, sources)
            elif stray < MAX_STRAY_CALLS:
                stray += 1
                output = self._refusal(recipient)
            else:
                break
            self._conversation.add_tool_reply(call.recipient, output, call.channel)
            if self._room() <= 0:
                self._reason = "length"
                break
            forced = False
        yield Ended(self._reason)

    def meant(self, recipient: str) -> str:
        """The tool that a sampled recipient means, or the recipient itself if there is none."""
        return normalize_recipient(recipient, self._known) or recipient

    def is_own(self, recipient: str) -> bool:
        """Whether this is a tool that the server runs itself."""
        return self._toolbox is not None and recipient in self._toolbox.recipients

    async def _run_own(self, recipient: str, arguments: str) -> tuple[str, tuple[str, ...]]:
        assert self._toolbox is not None
        output, sources = await self._toolbox.run(recipient, arguments)
        room = self._context - len(self._conversation.prompt_ids())
        return fit_output(output, self._host.tokenizer, max(room // 2, 1)), sources

    async def _generate(self, reader: Reader, *, forced: bool) -> AsyncGenerator[Piece, None]:
        """Run one generation, in slots of the engine."""
        walk = Walk(self._what_may_come())
        prompt = self._conversation.prompt_ids()
        if forced:
            header = final_header(self._host.tokenizer)
            prompt += header
            for token_id in header:
                walk.advance(token_id)
            for piece in reader.feed([Token(token_id, 0.0) for token_id in header]):
                yield piece
        params = replace(
            self._options.sampling,
            max_tokens=self._room(),
            stop_token_ids=STOP_TOKENS,
            keep_prefix=self._conversation.preamble_length,
            constraint=walk.rest if self._host.loaded().masks else None,
        )
        self._reason = "stop"
        async with aclosing(slices.generate(self._host, self._ticket, prompt, params, self.stats)) as events:
            async for event in events:
                for piece in self._take(event, reader):
                    yield piece
                if self._is_over(event, reader):
                    break
        for piece in reader.finish():
            yield piece
        self.stats.reasoning_tokens += reader.reasoning_tokens

    def _take(self, event: GenerationEvent, reader: Reader) -> list[Piece]:
        match event:
            case PrefillProgress():
                if not self.stats.generations:
                    self.stats.cached_tokens = event.cached
            case TokenBatch():
                if self.stats.first_token_seconds is None:
                    self.stats.first_token_seconds = time.monotonic() - self.stats.began
                self.stats.generated_tokens += len(event.tokens)
                if self._detector.feed([token.id for token in event.tokens]):
                    self._reason = "loop"
                return reader.feed(event.tokens)
            case Finished():
                if not reader.over and event.reason != "stop":
                    self._reason = "length"
        return []

    def _is_over(self, event: GenerationEvent, reader: Reader) -> bool:
        """Whether no further tokens count. After a stop token the engine only reports the usage, so that is awaited."""
        if not isinstance(event, TokenBatch):
            return False
        return self._reason == "loop" or (reader.over and event.tokens[-1].id not in STOP_TOKENS)

    def _keep(self, reader: Reader) -> None:
        """Add the generation to the conversation, and remember its messages as they were sampled."""
        self.stats.generations += 1
        before = len(self._conversation.entries)
        self._conversation.append_sampled(reader.taken)
        for entry in self._conversation.entries[before:]:
            self._host.memory.remember(entry.message, entry.tokens)

    def _lacks_answer(self, reader: Reader) -> bool:
        said = any(closed.kind in TEXTS for closed in reader.closed)
        return self._reason == "stop" and not said and not reader.stopped and self._room() > 0

    def _room(self) -> int:
        """How many tokens may still be sampled."""
        room = self._context - len(self._conversation.prompt_ids()) - len(final_header(self._host.tokenizer))
        if self._options.max_tokens is None:
            return room
        return min(room, self._options.max_tokens - self.stats.generated_tokens)

    def _refusal(self, recipient: str) -> str:
        """The reply to a call that cannot be run."""
        if self.is_own(recipient):
            return "No more calls of this tool are allowed in this turn. Answer with what you have."
        names = ", ".join(sorted(self._known))
        return f"There is no tool {recipient[:80]!r}. " + (f"Tools: {names}." if names else "There are no tools.")

    def _what_may_come(self) -> TokenAutomaton:
        """What the next generation may contain. A required call must come in the first generation."""
        dialogue, own = self._dialogue, self._toolbox.recipients if self._toolbox else ()
        chosen = dialogue.choice
        recipients = () if chosen.mode == "none" else chosen.only or (*dialogue.recipients, *own)
        return _automaton(
            self._host.tokenizer,
            recipients,
            tuple(dialogue.arguments.items()),
            dialogue.answer.grammar,
            dialogue.thinks,
            chosen.mode == "required" and not self.stats.generations,
        )


@lru_cache(maxsize=16)  # conversations return with the same tools, and many have none
def _automaton(
    tokenizer: Tokenizer,
    recipients: tuple[str, ...],
    arguments: tuple[tuple[str, Grammar], ...],
    answer: Grammar | None,
    thinks: bool,
    must_call: bool,
) -> TokenAutomaton:
    # With a grammar there are no preambles: clients would read them as part of the answer.
    return message_automaton(
        tokenizer,
        recipients,
        answer=answer,
        arguments=dict(arguments),
        thinks=thinks,
        preambles=answer is None,
        must_call=must_call,
    )
