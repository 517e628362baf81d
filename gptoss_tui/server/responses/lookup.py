"""Retrieves, deletes and cancels responses, whether stored or in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.outbox import EVENTS, Outbox, json_answer, stream
from gptoss_tui.server.responses.run import EventLog
from gptoss_tui.server.service import SERVICE, Service, record_of

_MAX_PAGE = 100


async def get_response(request: web.Request) -> web.StreamResponse:
    """Retrieve a stored or running response; with `stream`, the events of one created in the background."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    owner = record_of(request).access.key
    if request.query.get("stream", "").lower() in ("true", "1"):
        log = service.runs.log(response_id, owner)
        if log is None:
            _ = await _find(service, response_id, owner)
            raise invalid("Only responses that were made in the background can be streamed again.", "stream")
        return await stream(request, EVENTS, follow(log, _number(request, "starting_after", -1, 10**9, -1)))
    return json_answer(await _find(service, response_id, owner))


async def delete_response(request: web.Request) -> web.StreamResponse:
    """Delete a response."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    owner = record_of(request).access.key
    if service.runs.find(response_id, owner) is not None:
        raise invalid("The response is being made; cancel it first.", "response_id")
    stored = await asyncio.to_thread(service.storage("response_id").delete, response_id, owner)
    if not (service.runs.forget_log(response_id, owner) or stored):
        raise _unknown(response_id)
    return json_answer({"id": response_id, "object": "response", "deleted": True})


async def cancel_response(request: web.Request) -> web.StreamResponse:
    """Cancel a response that is in progress."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    owner = record_of(request).access.key
    run = service.runs.find(response_id, owner)
    if run is None:
        found = await _find(service, response_id, owner)
        if found["status"] != "cancelled":
            raise invalid(f"The response is {found['status']}; it cannot be cancelled.", "response_id")
        return json_answer(found)
    run.stop()
    await run.ended.wait()
    return json_answer(run.record.as_json())


async def list_input_items(request: web.Request) -> web.StreamResponse:
    """List the items in the input of a response's request."""
    service, response_id = request.app[SERVICE], request.match_info["id"]
    stored = await asyncio.to_thread(service.storage("response_id").load, response_id, record_of(request).access.key)
    if stored is None:
        raise _unknown(response_id)
    limit, order = _number(request, "limit", 1, _MAX_PAGE, 20), request.query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid("Invalid value for 'order': expected one of 'asc', 'desc'.", "order")
    items = list(stored.input) if order == "asc" else list(reversed(stored.input))
    after = request.query.get("after")
    if after is not None:
        ids = [item.get("id") for item in items]
        if after not in ids:
            raise invalid(f"There is no item {after[:80]!r}.", "after")
        items = items[ids.index(after) + 1 :]
    page = items[:limit]
    return json_answer(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
    )


def follow(log: EventLog, after: int) -> Callable[[Outbox], Awaitable[None]]:
    """Send the events of a response after sequence number `after`, including those yet to come."""

    async def produce(outbox: Outbox) -> None:
        async for event in log.read(after):
            outbox.put(event.data, last=event.last)
            await outbox.wait_for_room()

    return produce


# -- small parts ------------------------------------------------------------------------------------------------------


async def _find(service: Service, response_id: str, owner: str) -> Mapping[str, Any]:
    """Find a response, stored or in progress. Raises ApiError 404."""
    run = service.runs.find(response_id, owner)
    if run is not None:
        return run.record.as_json()
    stored = None
    if service.store is not None:
        stored = await asyncio.to_thread(service.store.load, response_id, owner)
    if stored is not None:
        return stored.response
    kept = service.runs.record(response_id, owner)
    if kept is None:
        raise _unknown(response_id)
    return kept.as_json()


def _unknown(response_id: str) -> ApiError:
    return ApiError(404, f"Response with id '{response_id[:80]}' not found.", param="response_id", code="not_found")


def _number(request: web.Request, name: str, low: int, high: int, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 10 or not low <= int(text) <= high:
        raise invalid(f"Invalid value for '{name}': expected an integer between {low} and {high}.", name)
    return int(text)
