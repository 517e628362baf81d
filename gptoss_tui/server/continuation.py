"""Continues a prompt token by token, without messages, roles or tools."""

from __future__ import annotations

import codecs
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from gptoss_tui.engine.types import Finished, PrefillProgress, SamplingParams, Token, TokenBatch
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server import slices
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.logprobs import json_logprob
from gptoss_tui.server.stats import Stats
from gptoss_tui.server.stops import StopFilter


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A client's request. `logprobs` is the number of alternatives for each token, None for no logprobs.

    `only_echo`: nothing is sampled.
    """

    prompts: tuple[tuple[int, ...], ...]
    sampling: SamplingParams
    stops: tuple[str, ...] = ()
    choices: int = 1
    logprobs: int | None = None
    echo: bool = False
    only_echo: bool = False
    ids: bool = False
    named_by_id: bool = False
    stream: bool = False
    include_usage: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """A token, from the prompt or sampled. The first token of a prompt has no logprob."""

    id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] | None


@dataclass(frozen=True, slots=True)
class Piece:
    """More of a continuation, or with `echo` the prompt before it."""

    text: str
    tokens: tuple[Described, ...]


class Speller:
    """Converts tokens to text and tracks where each of them begins. A token that ends a text has no text."""

    def __init__(self, tokenizer: Tokenizer, silent: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._silent = frozenset(silent)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._length = 0

    def add(self, token_id: int) -> tuple[str, int]:
        """Return the text that this token completes, and the length of the text before it."""
        at = self._length
        text = "" if token_id in self._silent else self._decoder.decode(self._bytes(token_id))
        self._length += len(text)
        return text, at

    def finish(self) -> str:
        """Return the rest: the bytes of an incomplete character."""
        return self._decoder.decode(b"", final=True)

    def _bytes(self, token_id: int) -> bytes:
        return self._tokenizer.token_bytes(token_id) or self._tokenizer.decode([token_id]).encode()


class LogprobTable:
    """The `logprobs` of one choice, piece by piece: offsets continue where the last piece ended.

    Tokens are named by their text or `by_id`: two tokens may have the same text, and parts of characters have none.
    For each token, `top` alternatives are reported.
    """

    def __init__(self, tokenizer: Tokenizer, silent: Iterable[int], top: int, *, by_id: bool) -> None:
        self._tokenizer = tokenizer
        self._by_id = by_id
        self._top = top
        self._speller = Speller(tokenizer, silent)

    def add(self, tokens: Sequence[Described]) -> dict[str, Any]:
        """The `logprobs` object for the next tokens."""
        return {
            "tokens": [self._name(token.id) for token in tokens],
            "token_logprobs": [None if one.logprob is None else json_logprob(one.logprob) for one in tokens],
            "top_logprobs": [None if one.top is None else self._alternatives(one.top) for one in tokens],
            "text_offset": [self._speller.add(token.id)[1] for token in tokens],
        }

    def _alternatives(self, top: Sequence[tuple[int, float]]) -> dict[str, float]:
        return {self._name(token_id): json_logprob(logprob) for token_id, logprob in top[: self._top]}

    def _name(self, token_id: int) -> str:
        return f"token_id:{token_id}" if self._by_id else self._tokenizer.decode([token_id])


@dataclass(slots=True)
class Continuation:
    """One choice so far."""

    index: int
    prompt: tuple[int, ...]
    sampling: SamplingParams
    tokenizer: Tokenizer
    asked: CompletionRequest
    stats: Stats = field(default_factory=Stats)
    finish_reason: str = "length"
    pieces: list[Piece] = field(default_factory=list)
    _table: LogprobTable = field(init=False)

    def __post_init__(self) -> None:
        asked = self.asked
        silent, top = self.sampling.stop_token_ids, asked.logprobs or 0
        self._table = LogprobTable(self.tokenizer, silent, top, by_id=asked.named_by_id)

    async def run(self, host: EngineHost, ticket: Ticket) -> AsyncGenerator[Piece, None]:
        """Yield the pieces as they arrive. Raises GptOssError."""
        async with aclosing(self._run(host, ticket)) as pieces:
            async for piece in pieces:
                self.pieces.append(piece)
                yield piece

    def whole(self) -> dict[str, Any]:
        """The choice with the whole text."""
        text = "".join(piece.text for piece in self.pieces)
        tokens = [token for piece in self.pieces for token in piece.tokens]
        return self._choice(text, tokens, self.finish_reason, first=True)

    def chunk(self, piece: Piece) -> dict[str, Any]:
        """The choice in a chunk, for the latest piece."""
        return self._choice(piece.text, piece.tokens, None, first=len(self.pieces) == 1)

    def last_chunk(self) -> dict[str, Any]:
        """The choice in the last chunk."""
        return self._choice("", (), self.finish_reason, first=not self.pieces)

    # -- running it ---------------------------------------------------------------------------------------------------

    async def _run(self, host: EngineHost, ticket: Ticket) -> AsyncGenerator[Piece, None]:
        if self.asked.echo:
            yield await self._echo(host, ticket)
        if self.asked.only_echo:
            return
        spelled = Speller(self.tokenizer, self.sampling.stop_token_ids)
        stops = StopFilter(self.asked.stops)
        async with aclosing(slices.generate(host, ticket, self.prompt, self.sampling, self.stats)) as events:
            async for event in events:
                if isinstance(event, PrefillProgress):
                    self.stats.cached_tokens = event.cached
                elif isinstance(event, Finished):
                    self.finish_reason = "stop" if event.reason == "stop" else "length"
                elif isinstance(event, TokenBatch):
                    yield self._take(event, spelled, stops)
                    if stops.found:
                        self.finish_reason = "stop"
                        return
        if rest := stops.feed(spelled.finish()) + stops.finish():
            yield Piece(rest, ())

    async def _echo(self, host: EngineHost, ticket: Ticket) -> Piece:
        """The prompt, scored by the model if logprobs are requested."""
        told: list[Described] = [Described(self.prompt[0], None, None)]
        if self.asked.logprobs is not None and len(self.prompt) > 1:
            scored = await slices.score(host, ticket, self.prompt, self.asked.logprobs, self.stats)
            told += [Described(one.next, one.logprob, one.top) for one in scored if one.next is not None]
        else:
            told += [Described(token_id, None, None) for token_id in self.prompt[1:]]
        return Piece(self.tokenizer.decode(self.prompt), tuple(told))

    def _take(self, batch: TokenBatch, spelled: Speller, stops: StopFilter) -> Piece:
        if self.stats.first_token_seconds is None:
            self.stats.first_token_seconds = time.monotonic() - self.stats.began
        self.stats.generated_tokens += len(batch.tokens)
        taken: list[Token] = []
        text = ""
        for token in batch.tokens:
            taken.append(token)
            text += stops.feed(spelled.add(token.id)[0])
            if stops.found:
                break
        return Piece(text, tuple(Described(token.id, token.logprob, token.top) for token in taken))

    # -- telling it ---------------------------------------------------------------------------------------------------

    def _choice(
        self, text: str, tokens: Sequence[Described], finish_reason: str | None, *, first: bool
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "index": self.index,
            "text": text,
            "logprobs": self._table.add(tokens) if self.asked.logprobs is not None else None,
            "finish_reason": finish_reason,
        }
        if self.asked.ids:
            body["token_ids"] = [token.id for token in tokens]
            body["prompt_token_ids"] = list(self.prompt) if first else None
        return body
