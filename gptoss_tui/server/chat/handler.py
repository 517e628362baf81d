"""`POST /v1/chat/completions`."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

from aiohttp import web

from gptoss_tui.server.body import read_body
from gptoss_tui.server.chat.answer import Choice, Envelope, usage_of
from gptoss_tui.server.chat.request import ChatRequest, read_chat_request
from gptoss_tui.server.encoding import beside
from gptoss_tui.server.errors import as_api_error
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.outbox import DONE, EVENTS, Outbox, json_answer, sse, stream
from gptoss_tui.server.prompt import Opening, take_in
from gptoss_tui.server.service import SERVICE, Record, Service, record_of
from gptoss_tui.server.turn import Ended, Turn

_CHUNK = "chat.completion.chunk"


async def create_completion(request: web.Request) -> web.StreamResponse:
    """Handle a chat completion request."""
    service = request.app[SERVICE]
    fields = await read_body(request)
    record = record_of(request)
    record.model = service.model(fields)
    ticket = service.admit(request, fields)
    try:
        asked = await beside(fields.size, lambda: read_chat_request(fields, service.defaults, service.effort))
        record.stream = asked.stream
        opening = await take_in(service.host, asked.dialogue)
        envelope = Envelope(record.model)
        choices = [_choice(service, asked, opening, ticket, index) for index in range(asked.choices)]
        record.stats += [choice.turn.stats for choice in choices]
        if asked.stream:
            return await stream(request, EVENTS, lambda outbox: _stream(outbox, envelope, choices, asked, record))
        for choice in choices:
            await _complete(choice)
        body = envelope.wrap("chat.completion", [choice.whole() for choice in choices], usage_of(record.stats))
        return json_answer(body)
    finally:
        ticket.leave()


def _choice(service: Service, asked: ChatRequest, opening: Opening, ticket: Ticket, index: int) -> Choice:
    """Create a separate turn for each choice; with a seed, each gets a different one."""
    sampling = asked.options.sampling
    if sampling.seed is not None:
        sampling = replace(sampling, seed=sampling.seed + index)
    turn = Turn(service.host, ticket, asked.dialogue, opening, replace(asked.options, sampling=sampling))
    return Choice(index, turn, asked.dialogue, service.host.tokenizer, asked.logprobs)


async def _complete(choice: Choice) -> None:
    async with aclosing(choice.turn.run()) as events:
        async for event in events:
            for _ in choice.take(event):
                pass
            if isinstance(event, Ended):
                choice.end(event.reason)


async def _stream(
    outbox: Outbox, envelope: Envelope, choices: list[Choice], asked: ChatRequest, record: Record
) -> None:
    try:
        for choice in choices:
            await _stream_choice(outbox, envelope, choice)
        if asked.include_usage:
            outbox.put(sse(envelope.wrap(_CHUNK, [], usage_of([choice.turn.stats for choice in choices]))))
    except Exception as error:
        outbox.put(sse(record.failed(as_api_error(error)).body()))
    outbox.put(DONE, last=True)


async def _stream_choice(outbox: Outbox, envelope: Envelope, choice: Choice) -> None:
    first = choice.chunk({"delta": {"role": "assistant", "content": ""}})
    outbox.put(sse(envelope.wrap(_CHUNK, [first], None)))
    async with aclosing(choice.turn.run()) as events:
        async for event in events:
            for delta in choice.take(event):
                outbox.put(sse(envelope.wrap(_CHUNK, [choice.chunk(delta)], None)))
            if isinstance(event, Ended):
                choice.end(event.reason)
    outbox.put(sse(envelope.wrap(_CHUNK, [choice.last_chunk()], None)))
