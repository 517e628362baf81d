"""`POST /v1/completions`: continues a text or token ids as they are, without messages, roles or tools."""

from __future__ import annotations

import secrets
import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from gptoss_tui.harmony.tokenizer import STOP_TOKENS, Tokenizer
from gptoss_tui.server.body import read_body
from gptoss_tui.server.chat.answer import usage_of
from gptoss_tui.server.continuation import CompletionRequest, Continuation
from gptoss_tui.server.encoding import check_characters
from gptoss_tui.server.errors import ApiError, as_api_error, invalid, not_supported
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.outbox import DONE, EVENTS, Outbox, json_answer, sse, stream
from gptoss_tui.server.prompt import too_long
from gptoss_tui.server.sampling import MAX_CHOICES, MAX_TOKENS, Defaults, read_sampling, read_stops, with_logprobs
from gptoss_tui.server.service import SERVICE, Record, record_of
from gptoss_tui.vocabulary import VOCAB_SIZE

MAX_PROMPTS = 16
DEFAULT_TOKENS = 16
"""OpenAI's default, too: a text without an end would fill the context."""

MAX_SCORED = 8192
"""Longest prompt, in tokens, to return logprobs for: each token has up to 20 alternatives, kept until all are done."""


def read_completion_request(
    fields: Fields, prompts: tuple[tuple[int, ...], ...], defaults: Defaults
) -> CompletionRequest:
    """Read a completion request. Raises ApiError."""
    logprobs = fields.integer("logprobs", 0, 20)
    choices = fields.integer("n", 1, MAX_CHOICES) or 1
    if (fields.integer("best_of", 1, 20) or choices) != choices:
        raise not_supported("'best_of' other than 'n'", fields.param("best_of"))
    if fields.text("suffix"):
        raise not_supported("'suffix'", fields.param("suffix"))
    limit = fields.integer("max_tokens", 0, MAX_TOKENS)
    options = fields.child("stream_options")
    return CompletionRequest(
        prompts,
        replace(
            with_logprobs(read_sampling(fields, defaults.sampling), logprobs),
            max_tokens=limit or DEFAULT_TOKENS,
            stop_token_ids=() if fields.flag("ignore_eos", False) else STOP_TOKENS,
        ),
        read_stops(fields),
        choices,
        logprobs,
        echo=fields.flag("echo", False),
        only_echo=limit == 0,
        ids=fields.flag("return_token_ids", False),
        named_by_id=fields.flag("return_tokens_as_token_ids", False),
        stream=fields.flag("stream", False),
        include_usage=options is not None and options.flag("include_usage", False),
    )


async def read_prompts(fields: Fields, host: EngineHost) -> tuple[tuple[int, ...], ...]:
    """Read `prompt`: a text, several texts, token ids, or several lists of token ids. Raises ApiError."""
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
        check_characters(len(value), host.loaded().context)
        return tuple(await host.memory.encoder.encode(value))
    if not isinstance(value, list) or not all(type(token) is int and 0 <= token < VOCAB_SIZE for token in value):
        raise fields.wrong("prompt", f"a string, or token ids between 0 and {VOCAB_SIZE - 1}, or an array of those")
    return tuple(value)


async def create_completion(request: web.Request) -> web.StreamResponse:
    """Continue one or more prompts."""
    service = request.app[SERVICE]
    fields = await read_body(request)
    record = record_of(request)
    record.model = service.model(fields)
    tokenizer = service.host.tokenizer
    ticket = service.admit(request, fields)
    try:
        asked = read_completion_request(fields, await read_prompts(fields, service.host), service.defaults)
        record.stream = asked.stream
        every = _continuations(asked, tokenizer, service.host.loaded().context)
        record.stats += [one.stats for one in every]
        envelope = {
            "id": f"cmpl-{secrets.token_hex(16)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": record.model,
        }
        if asked.stream:
            tell = partial(_stream, envelope, every, service.host, ticket, record)
            return await stream(request, EVENTS, tell)
        for one in every:
            async with aclosing(one.run(service.host, ticket)) as pieces:
                async for _ in pieces:
                    pass
        return json_answer({**envelope, "choices": [one.whole() for one in every], "usage": _usage(every)})
    finally:
        ticket.leave()


def _continuations(asked: CompletionRequest, tokenizer: Tokenizer, context: int) -> list[Continuation]:
    every = []
    for number, prompt in enumerate(asked.prompts):
        if len(prompt) >= context:
            raise too_long(len(prompt), context)
        if asked.echo and asked.logprobs is not None and len(prompt) > MAX_SCORED:
            raise _too_long_to_score(len(prompt))
        for choice in range(asked.choices):
            seed = None if asked.sampling.seed is None else asked.sampling.seed + choice
            index = number * asked.choices + choice
            one = Continuation(index, prompt, replace(asked.sampling, seed=seed), tokenizer, asked)
            one.stats.prompt_tokens = len(prompt)
            every.append(one)
    return every


async def _stream(
    envelope: dict[str, Any],
    every: list[Continuation],
    host: EngineHost,
    ticket: Ticket,
    record: Record,
    outbox: Outbox,
) -> None:
    try:
        for one in every:
            async with aclosing(one.run(host, ticket)) as pieces:
                async for piece in pieces:
                    outbox.put(sse({**envelope, "choices": [one.chunk(piece)]}))
            outbox.put(sse({**envelope, "choices": [one.last_chunk()]}))
        if every[0].asked.include_usage:
            outbox.put(sse({**envelope, "choices": [], "usage": _usage(every)}))
    except Exception as error:
        outbox.put(sse(record.failed(as_api_error(error)).body()))
    outbox.put(DONE, last=True)


def _too_long_to_score(tokens: int) -> ApiError:
    return invalid(f"'echo' with 'logprobs' reads at most {MAX_SCORED} tokens; the prompt has {tokens}.", "prompt")


def _usage(every: list[Continuation]) -> dict[str, Any]:
    """The usage of all continuations; each prompt counts once."""
    prompts = {id(one.prompt): one.stats.prompt_tokens for one in every}
    usage = usage_of([one.stats for one in every])
    usage["prompt_tokens"] = sum(prompts.values())
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    return usage
