"""`POST /v1/completions`: continue a text or token ids as they are, without messages, roles or tools."""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from gptoss_tui.engine.types import Finished, PrefillProgress, SamplingParams, Token, TokenBatch
from gptoss_tui.harmony.tokenizer import STOP_TOKENS, Tokenizer
from gptoss_tui.server.body import read_body
from gptoss_tui.server.chat.answer import usage_of
from gptoss_tui.server.encoding import check_characters
from gptoss_tui.server.errors import as_api_error, not_supported
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.outbox import DONE, EVENTS, Outbox, json_answer, sse, stream
from gptoss_tui.server.prompt import too_long
from gptoss_tui.server.sampling import Defaults, read_sampling, read_stops
from gptoss_tui.server.service import SERVICE, record_of
from gptoss_tui.server.stops import StopFilter
from gptoss_tui.server.turn import Stats
from gptoss_tui.vocabulary import VOCAB_SIZE

MAX_PROMPTS = 16
MAX_CHOICES = 16
DEFAULT_TOKENS = 16
"""As OpenAI's: a text without an end would fill the context."""

_MAX_TOKENS = 10 * VOCAB_SIZE


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What a client asks for. `logprobs` are alternatives for each token, None without logprobs."""

    prompts: tuple[tuple[int, ...], ...]
    sampling: SamplingParams
    stops: tuple[str, ...] = ()
    choices: int = 1
    logprobs: int | None = None
    echo: bool = False
    ids: bool = False
    stream: bool = False
    include_usage: bool = False


def read_completion_request(
    fields: Fields, prompts: tuple[tuple[int, ...], ...], defaults: Defaults
) -> CompletionRequest:
    """Raises ApiError."""
    logprobs = fields.integer("logprobs", 0, 20)
    choices = fields.integer("n", 1, MAX_CHOICES) or 1
    if (fields.integer("best_of", 1, 20) or choices) != choices:
        raise not_supported("'best_of' other than 'n'", fields.param("best_of"))
    if fields.text("suffix"):
        raise not_supported("'suffix'", fields.param("suffix"))
    limit = fields.integer("max_tokens", 1, _MAX_TOKENS)
    options = fields.child("stream_options")
    return CompletionRequest(
        prompts,
        replace(
            read_sampling(fields, defaults.sampling),
            max_tokens=limit or DEFAULT_TOKENS,
            top_logprobs=logprobs or 0,
            stop_token_ids=() if fields.flag("ignore_eos", False) else STOP_TOKENS,
        ),
        read_stops(fields),
        choices,
        logprobs,
        echo=fields.flag("echo", False),
        ids=fields.flag("return_token_ids", False),
        stream=fields.flag("stream", False),
        include_usage=options is not None and options.flag("include_usage", False),
    )


async def read_prompts(fields: Fields, host: EngineHost) -> tuple[tuple[int, ...], ...]:
    """`prompt`: a text, texts, token ids, or lists of those. Raises ApiError."""
    value = fields.values.get("prompt")
    if value is None:
        raise fields.missing("prompt")
    several = isinstance(value, list) and bool(value) and isinstance(value[0], str | list)
    every = value if several else [value]
    if len(every) > MAX_PROMPTS:
        raise fields.wrong("prompt", f"at most {MAX_PROMPTS} prompts")
    prompts = [await _read_prompt(one, fields, host) for one in every]
    if not all(prompts):
        raise fields.wrong("prompt", "a prompt of at least one token")
    return tuple(prompts)


async def _read_prompt(value: Any, fields: Fields, host: EngineHost) -> tuple[int, ...]:
    if isinstance(value, str):
        check_characters(len(value), host.ready.context)
        return tuple(await host.memory.encoder.encode(value))
    if not isinstance(value, list) or not all(type(token) is int and 0 <= token < VOCAB_SIZE for token in value):
        raise fields.wrong("prompt", f"a string, or token ids between 0 and {VOCAB_SIZE - 1}, or an array of those")
    return tuple(value)


@dataclass(slots=True)
class Continuation:
    """One choice, as far as it came."""

    index: int
    prompt: tuple[int, ...]
    sampling: SamplingParams
    tokenizer: Tokenizer
    asked: CompletionRequest
    stats: Stats = field(default_factory=Stats)
    text: str = ""
    finish_reason: str = "stop"
    tokens: list[Token] = field(default_factory=list)

    async def run(self, host: EngineHost, ticket: Ticket) -> AsyncGenerator[tuple[str, list[Token]], None]:
        """Pieces of text with the tokens sampled since the last one."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        stops = StopFilter(self.asked.stops)
        asked = time.monotonic()
        async with ticket:
            self.stats.waited_seconds = time.monotonic() - asked
            async with aclosing(host.generate(self.prompt, self.sampling)) as events:
                async for event in events:
                    if isinstance(event, PrefillProgress):
                        self.stats.cached_tokens = event.cached
                    elif isinstance(event, Finished):
                        self.finish_reason = "stop" if event.reason == "stop" else "length"
                    elif isinstance(event, TokenBatch):
                        yield self._take(event, decoder, stops)
                        if stops.found:
                            return
        rest = stops.feed(decoder.decode(b"", final=True)) + stops.finish()
        self.text += rest
        yield rest, []

    def _take(
        self, batch: TokenBatch, decoder: codecs.IncrementalDecoder, stops: StopFilter
    ) -> tuple[str, list[Token]]:
        if self.stats.first_token_seconds is None:
            self.stats.first_token_seconds = time.monotonic() - self.stats.began
        self.stats.generated_tokens += len(batch.tokens)
        taken: list[Token] = []
        pieces = []
        for token in batch.tokens:
            taken.append(token)
            if token.id not in self.sampling.stop_token_ids:
                piece = self.tokenizer.token_bytes(token.id) or self.tokenizer.decode([token.id]).encode()
                pieces.append(stops.feed(decoder.decode(piece)))
            if stops.found:
                break
        self.tokens += taken
        text = "".join(pieces)
        self.text += text
        return text, taken

    def choice(self, text: str, tokens: Sequence[Token], finish_reason: str | None) -> dict[str, Any]:
        """The choice of a chunk, or with all text and tokens that of the whole."""
        body: dict[str, Any] = {
            "index": self.index,
            "text": text,
            "logprobs": None if self.asked.logprobs is None else self._logprobs(tokens),
            "finish_reason": finish_reason,
        }
        if self.asked.ids:
            body["token_ids"] = [token.id for token in tokens]
            body["prompt_token_ids"] = list(self.prompt)
        return body

    def _logprobs(self, tokens: Sequence[Token]) -> dict[str, Any]:
        names = [self.tokenizer.decode([token.id]) for token in tokens]
        offsets, at = [], 0
        for name in names:
            offsets.append(at)
            at += len(name)
        return {
            "tokens": names,
            "token_logprobs": [max(token.logprob, -9999.0) for token in tokens],
            "top_logprobs": [
                {self.tokenizer.decode([token_id]): max(logprob, -9999.0) for token_id, logprob in token.top}
                for token in tokens
            ],
            "text_offset": offsets,
        }


async def create_completion(request: web.Request) -> web.StreamResponse:
    """Continue one or several prompts."""
    service = request.app[SERVICE]
    fields = await read_body(request)
    record = record_of(request)
    record.model = service.model(fields)
    tokenizer = service.host.tokenizer
    ticket = service.admit(request, fields)
    try:
        asked = read_completion_request(fields, await read_prompts(fields, service.host), service.defaults)
        record.stream = asked.stream
        every = _continuations(asked, tokenizer, service.host.ready.context)
        record.stats += [one.stats for one in every]
        envelope = {
            "id": f"cmpl-{secrets.token_hex(16)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": record.model,
        }
        if asked.stream:
            return await stream(request, EVENTS, lambda outbox: _stream(outbox, envelope, every, service.host, ticket))
        for one in every:
            async with aclosing(one.run(service.host, ticket)) as pieces:
                async for _ in pieces:
                    pass
        choices = [one.choice(_echoed(one) + one.text, one.tokens, one.finish_reason) for one in every]
        body = {**envelope, "choices": choices, "usage": _usage(every)}
        return json_answer(body)
    finally:
        ticket.leave()


def _continuations(asked: CompletionRequest, tokenizer: Tokenizer, context: int) -> list[Continuation]:
    every = []
    for number, prompt in enumerate(asked.prompts):
        if len(prompt) >= context:
            raise too_long(len(prompt), context)
        for choice in range(asked.choices):
            seed = None if asked.sampling.seed is None else asked.sampling.seed + choice
            index = number * asked.choices + choice
            one = Continuation(index, prompt, replace(asked.sampling, seed=seed), tokenizer, asked)
            one.stats.prompt_tokens = len(prompt)
            every.append(one)
    return every


def _echoed(one: Continuation) -> str:
    return one.tokenizer.decode(one.prompt) if one.asked.echo else ""


async def _stream(
    outbox: Outbox, envelope: dict[str, Any], every: list[Continuation], host: EngineHost, ticket: Ticket
) -> None:
    try:
        for one in every:
            if one.asked.echo:
                outbox.put(sse({**envelope, "choices": [one.choice(_echoed(one), (), None)]}))
            async with aclosing(one.run(host, ticket)) as pieces:
                async for text, tokens in pieces:
                    if text or tokens:
                        outbox.put(sse({**envelope, "choices": [one.choice(text, tokens, None)]}))
            outbox.put(sse({**envelope, "choices": [one.choice("", (), one.finish_reason)]}))
        if every[0].asked.include_usage:
            outbox.put(sse({**envelope, "choices": [], "usage": _usage(every)}))
    except Exception as error:
        outbox.put(sse(as_api_error(error).body()))
    outbox.put(DONE, last=True)


def _usage(every: list[Continuation]) -> dict[str, Any]:
    """What all of it has cost: each prompt counts once."""
    prompts = {id(one.prompt): one.stats.prompt_tokens for one in every}
    usage = usage_of([one.stats for one in every])
    usage["prompt_tokens"] = sum(prompts.values())
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    return usage
