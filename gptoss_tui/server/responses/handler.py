"""The routes of the Responses API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from gptoss_tui.server.body import read_body
from gptoss_tui.server.dialogue import Dialogue
from gptoss_tui.server.encoding import CHARACTERS_PER_TOKEN
from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.outbox import EVENTS, Outbox, encode, sse, stream
from gptoss_tui.server.responses.ids import new_response_id
from gptoss_tui.server.responses.items import read_input
from gptoss_tui.server.responses.record import ResponseRecord, new_record
from gptoss_tui.server.responses.request import ResponsesRequest, read_request
from gptoss_tui.server.responses.run import EventLog, Run
from gptoss_tui.server.responses.store import ResponseStore, Stored
from gptoss_tui.server.responses.writer import LAST_EVENTS, ResponseEvent, Writer
from gptoss_tui.server.service import SERVICE, Service, record_of
from gptoss_tui.server.toolbox import ServerToolbox
from gptoss_tui.server.truncate import turn_that_fits, without_first_turns
from gptoss_tui.server.turn import Turn, converse, take_in

_MAX_PAGE = 100
_TRUNCATED_ROOM = 4
"""A dialogue that may be cut leaves this part of the context for the answer."""


async def create_response(request: web.Request) -> web.StreamResponse:
    """Make a response."""
    service = request.app[SERVICE]
    fields = await read_body(request)
    response_id = new_response_id()
    record_of(request).model = service.model(fields)
    items = _resolved(read_input(fields, response_id), service, request)
    asked = _read(fields, items, service, request)
    record_of(request).stream = asked.stream
    if asked.truncate:
        characters = CHARACTERS_PER_TOKEN * service.host.ready.context // 2
        asked = replace(asked, dialogue=without_first_turns(asked.dialogue, characters))
    ticket = service.admit(request, fields)
    try:
        await take_in(service.host, asked.dialogue)
        run = _prepare(response_id, asked, items, service, request, ticket)
    except BaseException:
        ticket.leave()
        raise
    if asked.background:
        return await _in_background(run, asked, service, request)
    try:
        if asked.stream:
            return await stream(request, EVENTS, lambda outbox: run.play(lambda event: _send(outbox, event)))
        await run.play(lambda event: None)
    finally:
        run.close()
        if run.error is not None:
            record_of(request).error = run.error.code or run.error.kind
    if run.error is not None:
        raise run.error
    return _json(run.record.as_json())


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """How many tokens the input of a response would have."""
    service = request.app[SERVICE]
    fields = await read_body(request)
    items = _resolved(read_input(fields, new_response_id()), service, request)
    asked = _read(fields, items, service, request)
    await take_in(service.host, asked.dialogue)
    tokens = len(converse(service.host, asked.dialogue).prompt_ids())
    return _json({"object": "response.input_tokens", "input_tokens": tokens})


async def get_response(request: web.Request) -> web.StreamResponse:
    """A response that is stored or being made; with `stream` its events, when it is made in the background."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    owner = record_of(request).access.key
    if request.query.get("stream", "").lower() in ("true", "1"):
        log = service.runs.log(response_id, owner)
        if log is None:
            _ = _find(service, response_id, owner)
            raise invalid("Only responses that were made in the background can be streamed again.", "stream")
        return await stream(request, EVENTS, _follow(log, _number(request, "starting_after", -1, 10**9, -1)))
    return _json(_find(service, response_id, owner))


async def delete_response(request: web.Request) -> web.StreamResponse:
    """Forget a response."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    owner = record_of(request).access.key
    if service.runs.find(response_id, owner) is not None:
        raise invalid("The response is being made; cancel it first.", "response_id")
    if not await asyncio.to_thread(_store(service).delete, response_id, owner):
        raise _unknown(response_id)
    return _json({"id": response_id, "object": "response", "deleted": True})


async def cancel_response(request: web.Request) -> web.StreamResponse:
    """Stop making a response."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    owner = record_of(request).access.key
    run = service.runs.find(response_id, owner)
    if run is None:
        found = _find(service, response_id, owner)
        if found["status"] != "cancelled":
            raise invalid(f"The response is {found['status']}; it cannot be cancelled.", "response_id")
        return _json(found)
    run.stop()
    await run.ended.wait()
    return _json(run.record.as_json())


async def list_input_items(request: web.Request) -> web.StreamResponse:
    """What the request of a response brought."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    stored = await asyncio.to_thread(_store(service).load, response_id, record_of(request).access.key)
    if stored is None:
        raise _unknown(response_id)
    limit = _number(request, "limit", 1, _MAX_PAGE, 20)
    items = list(stored.input)
    if request.query.get("order", "desc") != "asc":
        items.reverse()
    after = request.query.get("after")
    if after is not None:
        ids = [item.get("id") for item in items]
        if after not in ids:
            raise invalid(f"There is no item {after[:80]!r}.", "after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    return _json(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
    )


# -- making one -------------------------------------------------------------------------------------------------------


def _read(fields: Fields, items: list[dict[str, Any]], service: Service, request: web.Request) -> ResponsesRequest:
    previous = fields.text("previous_response_id")
    before: list[Mapping[str, Any]] = []
    if previous is not None:
        before = _store(service).context(previous, record_of(request).access.key)
    return read_request(fields, items, before, service.defaults, service.effort, service.own.names)


def _resolved(items: list[dict[str, Any]], service: Service, request: web.Request) -> list[dict[str, Any]]:
    """The items, with those that a reference names in its place."""
    owner = record_of(request).access.key
    return [
        dict(_store(service).item(Fields(item, f"input[{index}]").required_text("id"), owner))
        if item["type"] == "item_reference"
        else item
        for index, item in enumerate(items)
    ]


def _prepare(
    response_id: str,
    asked: ResponsesRequest,
    items: list[dict[str, Any]],
    service: Service,
    request: web.Request,
    ticket: Ticket,
) -> Run:
    """The response, ready to be made; from now on its end gives the ticket back. Raises ApiError."""
    toolbox = service.own.open(asked.tools.own)
    turn = _turn(asked, service, ticket, toolbox)
    log, owner = record_of(request), record_of(request).access.key
    record = new_record(response_id, log.model, asked, stored=service.store is not None)
    if not asked.background:
        log.stats.append(turn.stats)
    writer = Writer(record, asked, turn, service.host.tokenizer, toolbox.cite if toolbox else lambda answer: ())

    def on_end() -> None:
        ticket.leave()
        if toolbox is not None:
            toolbox.close()
        service.runs.remove(run)
        if asked.background:  # nobody waits, so nobody else counts it
            service.metrics.count(turn.stats)

    async def keep(record: ResponseRecord) -> None:
        if record.store and service.store is not None:
            stored = Stored(record.as_json(), tuple(items), owner)
            await asyncio.to_thread(service.store.save, stored)

    run = Run(writer, turn, owner, keep, on_end)
    service.runs.add(run)
    return run


def _turn(asked: ResponsesRequest, service: Service, ticket: Ticket, toolbox: ServerToolbox | None) -> Turn:
    """The turn of a request, cut to what fits where that is wanted."""
    options = asked.options
    if asked.truncate:
        context = service.host.ready.context
        options = replace(options, min_room=min(options.max_tokens or context, context // _TRUNCATED_ROOM))

    def make(dialogue: Dialogue) -> Turn:
        return Turn(service.host, ticket, dialogue, options, toolbox)

    return turn_that_fits(make, asked.dialogue) if asked.truncate else make(asked.dialogue)


async def _in_background(
    run: Run, asked: ResponsesRequest, service: Service, request: web.Request
) -> web.StreamResponse:
    log = service.runs.open_log(run)

    async def play() -> None:
        try:
            await run.play(log.put)
        finally:
            log.close()

    task = asyncio.create_task(play(), name=run.record.id)
    service.active.add(task)
    task.add_done_callback(service.active.discard)
    task.add_done_callback(lambda _: run.close())
    if asked.stream:
        return await stream(request, EVENTS, _follow(log, -1))
    return _json(run.record.as_json())


def _send(outbox: Outbox, event: ResponseEvent) -> None:
    outbox.put(sse(event, event["type"]), last=event["type"] in LAST_EVENTS)


def _follow(log: EventLog, after: int) -> Callable[[Outbox], Awaitable[None]]:
    async def produce(outbox: Outbox) -> None:
        async for event in log.read(after):
            _send(outbox, event)
            await outbox.wait_for_room()

    return produce


# -- small parts ------------------------------------------------------------------------------------------------------


def _find(service: Service, response_id: str, owner: str) -> Mapping[str, Any]:
    """A response, stored or being made. Raises ApiError 404."""
    run = service.runs.find(response_id, owner)
    if run is not None:
        return run.record.as_json()
    stored = service.store.load(response_id, owner) if service.store is not None else None
    if stored is None:
        raise _unknown(response_id)
    return stored.response


def _store(service: Service) -> ResponseStore:
    if service.store is None:
        raise invalid("This server stores no responses.", "previous_response_id")
    return service.store


def _unknown(response_id: str) -> ApiError:
    return ApiError(404, f"Response with id '{response_id[:80]}' not found.", param="response_id", code="not_found")


def _number(request: web.Request, name: str, low: int, high: int, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 10 or not low <= int(text) <= high:
        raise invalid(f"Invalid value for '{name}': expected an integer between {low} and {high}.", name)
    return int(text)


def _json(body: Mapping[str, Any]) -> web.Response:
    return web.Response(body=encode(body), content_type="application/json")
