"""What holds for the events of every response, whatever the model says."""

from __future__ import annotations

import json
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.server.running import Running

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

RECORDED = {
    "response.created": {"sequence_number", "response"},
    "response.in_progress": {"sequence_number", "response"},
    "response.output_item.added": {"sequence_number", "output_index", "item"},
    "response.content_part.added": {"sequence_number", "item_id", "output_index", "content_index", "part"},
    "response.output_text.delta": {
        *("sequence_number", "item_id", "output_index", "content_index", "delta", "logprobs"),
    },
    "response.output_text.done": {
        *("sequence_number", "item_id", "output_index", "content_index", "text", "logprobs"),
    },
    "response.content_part.done": {"sequence_number", "item_id", "output_index", "content_index", "part"},
    "response.output_item.done": {"sequence_number", "output_index", "item"},
    "response.completed": {"sequence_number", "response"},
}
"""The fields of events in a published recording of OpenAI's own service, beside `type`."""

RECORDED_RESPONSE = {
    *("id", "object", "created_at", "status", "background", "error", "incomplete_details", "instructions", "metadata"),
    *("max_output_tokens", "max_tool_calls", "model", "output", "parallel_tool_calls", "previous_response_id", "usage"),
    *("reasoning", "service_tier", "store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p"),
    *("truncation", "user"),
}

DELTAS = {
    "response.output_text.delta": "text",
    "response.reasoning_text.delta": "text",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
    "response.reasoning_summary_text.delta": "text",
}


async def events_of(server: Running, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a streamed response, checked."""
    async with server.http.post(f"{server.url}/v1/responses", json={**body, "stream": True}) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        text = await response.text()
    events = []
    for block in text.split("\n\n"):
        if block.startswith("event: "):
            name, data = block.split("\n", 1)
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            events.append(event)
    check(events)
    return events


def check(events: list[dict[str, Any]]) -> None:
    """Types, numbers, places and sums."""
    for event in events:
        _EVENT.validate_python(event)
        assert RECORDED.get(event["type"], set()) <= set(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    last = events[-1]
    assert last["type"] in ("response.completed", "response.incomplete", "response.failed")
    Response.model_validate(last["response"])
    assert set(last["response"]) >= RECORDED_RESPONSE
    _check_items(events[2:-1], last["response"]["output"])


def _check_items(events: list[dict[str, Any]], output: list[dict[str, Any]]) -> None:
    """One item after the other: added, told, done; and the response says the same of it in the end."""
    open_item: dict[str, Any] | None = None
    index = -1
    sums: dict[str, str] = {}
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert open_item is None
            open_item, index, sums = event["item"], index + 1, {}
            assert event["output_index"] == index
            assert open_item["status"] == "in_progress"
        elif kind == "response.output_item.done":
            assert open_item is not None
            assert event["output_index"] == index
            assert event["item"] == output[index]
            assert event["item"]["id"] == open_item["id"]
            assert event["item"]["status"] in ("completed", "incomplete")
            open_item = None
        elif kind != "error":
            assert open_item is not None
            assert (event["item_id"], event["output_index"]) == (open_item["id"], index)
            if kind in DELTAS:
                assert event["delta"]
                sums[kind] = sums.get(kind, "") + event["delta"]
            elif (delta := kind.replace(".done", ".delta")) in DELTAS:
                assert event[DELTAS[delta]] == sums.get(delta, "")
    assert len({item["id"] for item in output}) == len(output) == index + 1
