"""`POST /api/chat` and `POST /api/generate`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from gptoss_tui.harmony.tokenizer import STOP_TOKENS
from gptoss_tui.server.body import read_body
from gptoss_tui.server.chat.request import read_chat_request
from gptoss_tui.server.completions import read_prompts
from gptoss_tui.server.continuation import CompletionRequest, Continuation
from gptoss_tui.server.encoding import beside
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.ollama.answer import (
    Answer,
    Form,
    Said,
    SaidBehindPrompt,
    SaidInTurn,
    chat_form,
    generate_form,
    line,
)
from gptoss_tui.server.ollama.request import chat_request, prompt_request, raw_request
from gptoss_tui.server.outbox import LINES, json_answer, stream
from gptoss_tui.server.prompt import take_in, too_long
from gptoss_tui.server.sampling import MAX_TOKENS, read_sampling, read_stops
from gptoss_tui.server.service import SERVICE, Service, record_of
from gptoss_tui.server.turn import Turn

Ask = Callable[[Service, Fields, Ticket], Awaitable[Said]]


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a chat, in lines unless `stream` is false. Without messages, just report that the model is loaded."""
    fields = await read_body(request, typed=False)  # some clients of Ollama send no content type
    return await _answer(request, fields, chat_form, _ask_chat if fields.list("messages") else None)


async def generate(request: web.Request) -> web.StreamResponse:
    """Answer a prompt, or continue it as it is if `raw` is true."""
    fields = await read_body(request, typed=False)
    ask = _ask_raw if fields.flag("raw", False) else _ask_prompt
    return await _answer(request, fields, generate_form, ask if fields.text("prompt") else None)


async def _answer(request: web.Request, fields: Fields, form: Form, ask: Ask | None) -> web.StreamResponse:
    service = request.app[SERVICE]
    record = record_of(request)
    record.model = service.model(fields)
    record.stream = fields.flag("stream", True)
    if ask is None:
        return json_answer(line(record.model, form({"content": ""}), done=True, done_reason="load"))
    ticket = service.admit(request, fields)
    try:
        said = await ask(service, fields, ticket)
        record.stats.append(said.stats)
        answer = Answer(record, said, form)
        if record.stream:
            return await stream(request, LINES, answer.send)
        return json_answer(await answer.whole())
    finally:
        ticket.leave()


async def _ask_chat(service: Service, fields: Fields, ticket: Ticket) -> Said:
    return await _in_turn(service, fields, ticket, chat_request)


async def _ask_prompt(service: Service, fields: Fields, ticket: Ticket) -> Said:
    return await _in_turn(service, fields, ticket, prompt_request)


async def _in_turn(service: Service, fields: Fields, ticket: Ticket, translate: Callable[[Fields], Fields]) -> Said:
    asked = await beside(fields.size, lambda: read_chat_request(translate(fields), service.defaults, service.effort))
    opening = await take_in(service.host, asked.dialogue)
    return SaidInTurn(Turn(service.host, ticket, asked.dialogue, opening, asked.options), asked.dialogue)


async def _ask_raw(service: Service, fields: Fields, ticket: Ticket) -> Said:
    host, asked = service.host, raw_request(fields)
    (prompt,) = await read_prompts(asked, host)
    context = host.loaded().context
    if len(prompt) >= context:
        raise too_long(len(prompt), context)
    limit = asked.integer("max_tokens", 1, MAX_TOKENS) or service.defaults.sampling.max_tokens
    sampling = replace(read_sampling(asked, service.defaults.sampling), max_tokens=limit, stop_token_ids=STOP_TOKENS)
    continued = CompletionRequest((prompt,), sampling, read_stops(asked))
    one = Continuation(0, prompt, sampling, host.tokenizer, continued)
    one.stats.prompt_tokens = len(prompt)
    return SaidBehindPrompt(one, host, ticket)
