"""Creates responses: `POST /v1/responses`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from gptoss_tui.server.body import MAX_BYTES, read_body
from gptoss_tui.server.dialogue import Dialogue
from gptoss_tui.server.encoding import CHARACTERS_PER_TOKEN, beside
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.gate import Ticket
from gptoss_tui.server.outbox import EVENTS, json_answer, sse, stream
from gptoss_tui.server.prompt import Opening, converse, take_in
from gptoss_tui.server.responses.ids import new_response_id
from gptoss_tui.server.responses.items import read_input
from gptoss_tui.server.responses.lookup import follow
from gptoss_tui.server.responses.record import ResponseRecord, new_record
from gptoss_tui.server.responses.request import ResponsesRequest, read_request
from gptoss_tui.server.responses.run import LoggedEvent, Run
from gptoss_tui.server.responses.store import Stored
from gptoss_tui.server.responses.writer import LAST_EVENTS, ResponseEvent, Writer
from gptoss_tui.server.service import SERVICE, Record, Service, record_of
from gptoss_tui.server.toolbox import ServerToolbox
from gptoss_tui.server.truncate import turn_that_fits, without_first_turns
from gptoss_tui.server.turn import Turn

_TRUNCATED_ROOM = 4
"""A dialogue that may be truncated leaves this fraction (1 / 4) of the context for the answer."""


async def create_response(request: web.Request) -> web.StreamResponse:
    """Create a response."""
    service, log = request.app[SERVICE], record_of(request)
    fields = await read_body(request)
    log.model = service.model(fields)
    ticket = service.admit(request, fields)
    try:
        asked = await _read(fields, service, log)
        log.stream = asked.request.stream
        run = await _prepare(asked, service, log, ticket)
    except BaseException:
        ticket.leave()
        raise
    if asked.request.background:
        return await _in_background(run, asked.request, service, request)
    try:
        if asked.request.stream:
            return await stream(request, EVENTS, lambda outbox: run.play(lambda event: outbox.put(*_encoded(event))))
        await run.play(lambda event: None)
    finally:
        run.close()
        if run.error is not None:
            log.failed(run.error)
    if run.error is not None:
        raise run.error
    return json_answer(run.record.as_json())


async def count_tokens(request: web.Request) -> web.StreamResponse:
    """Count the tokens that the input of a response would have."""
    service = request.app[SERVICE]
    asked = await _read(await read_body(request), service, record_of(request))
    opening = await take_in(service.host, asked.request.dialogue)
    tokens = len(converse(service.host, asked.request.dialogue, opening).prompt_ids())
    return json_answer({"object": "response.input_tokens", "input_tokens": tokens})


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, the id for its response, and the items in its input."""

    id: str
    items: list[dict[str, Any]]
    request: ResponsesRequest


async def _read(fields: Fields, service: Service, log: Record) -> _Asked:
    """Read a request. Raises ApiError. Stored responses and schemas are read in a thread, as both may take a while."""
    stored = fields.has("previous_response_id")
    size = MAX_BYTES if stored else fields.size  # the size of the stored data is unknown
    asked = await beside(size, lambda: _read_all(fields, service, log.access.key))
    if not asked.request.truncate:
        return asked
    characters = CHARACTERS_PER_TOKEN * service.host.loaded().context // 2
    cut = without_first_turns(asked.request.dialogue, characters)
    return replace(asked, request=replace(asked.request, dialogue=cut))


def _read_all(fields: Fields, service: Service, owner: str) -> _Asked:
    response_id = new_response_id()
    items = _resolved(read_input(fields, response_id), service, owner)
    previous = fields.text("previous_response_id")
    before: list[Mapping[str, Any]] = []
    if previous is not None:
        before = service.storage("previous_response_id").context(previous, owner)
    asked = read_request(fields, items, before, service.defaults, service.effort, service.own.names)
    if asked.background:
        service.storage("background")  # if nothing is stored, nobody could ever read the response
    return _Asked(response_id, items, asked)


def _resolved(items: list[dict[str, Any]], service: Service, owner: str) -> list[dict[str, Any]]:
    """The items, with references replaced by the items that they refer to."""
    return [
        dict(service.storage(f"input[{index}]").item(Fields(item, f"input[{index}]").required_text("id"), owner))
        if item["type"] == "item_reference"
        else item
        for index, item in enumerate(items)
    ]


# -- making -----------------------------------------------------------------------------------------------------------


async def _prepare(asked: _Asked, service: Service, log: Record, ticket: Ticket) -> Run:
    """Prepare the run of a response. From now on, its end returns the ticket. Raises ApiError."""
    dialogue = asked.request.dialogue
    toolbox = service.own.open(asked.request.tools.own)
    try:
        opening = await take_in(service.host, dialogue, toolbox.namespaces if toolbox is not None else ())
        turn = _turn(asked.request, opening, service, ticket, toolbox)
    except BaseException:
        if toolbox is not None:
            toolbox.close()
        raise
    record = new_record(asked.id, log.model, asked.request, stored=service.store is not None)
    cite = toolbox.cite if toolbox is not None else lambda text: ()
    writer = Writer(record, asked.request, turn, service.host.tokenizer, cite)
    if not asked.request.background:
        log.stats.append(turn.stats)

    def on_end() -> None:
        ticket.leave()
        if toolbox is not None:
            toolbox.close()
        service.runs.remove(run)
        if record.background:  # its request ended earlier and did not count it
            service.metrics.count(turn.stats)

    async def keep(record: ResponseRecord) -> None:
        if record.store and service.store is not None:
            stored = Stored(record.as_json(), tuple(asked.items), log.access.key)
            await asyncio.to_thread(service.store.save, stored)

    run = Run(writer, turn, log.access.key, keep, on_end)
    service.runs.add(run)
    return run


def _turn(
    asked: ResponsesRequest, opening: Opening, service: Service, ticket: Ticket, toolbox: ServerToolbox | None
) -> Turn:
    """The turn for a request, truncated to fit if the request allows it."""
    options = asked.options
    if asked.truncate:
        context = service.host.loaded().context
        options = replace(options, min_room=min(options.max_tokens or context, context // _TRUNCATED_ROOM))

    def make(dialogue: Dialogue) -> Turn:
        return Turn(service.host, ticket, dialogue, opening, options, toolbox)

    return turn_that_fits(make, asked.dialogue) if asked.truncate else make(asked.dialogue)


async def _in_background(
    run: Run, asked: ResponsesRequest, service: Service, request: web.Request
) -> web.StreamResponse:
    log = service.runs.open_log(run)

    async def play() -> None:
        try:
            await run.play(lambda event: log.put(LoggedEvent(*_encoded(event))))
        finally:
            log.close()

    task = asyncio.create_task(play(), name=run.record.id)
    service.active.add(task)
    task.add_done_callback(service.active.discard)
    task.add_done_callback(lambda _: run.close())
    if asked.stream:
        return await stream(request, EVENTS, follow(log, -1))
    return json_answer(run.record.as_json())


def _encoded(event: ResponseEvent) -> tuple[bytes, bool]:
    """An event as bytes, and whether it is the last one."""
    return sse(event, event["type"]), event["type"] in LAST_EVENTS
