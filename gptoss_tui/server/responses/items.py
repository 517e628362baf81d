"""Converts the items in a response's input to harmony messages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gptoss_tui.harmony.messages import Message
from gptoss_tui.server.content import read_text
from gptoss_tui.server.dialogue import FUNCTIONS, OfferedTool, developer_message, tool_call, tool_reply
from gptoss_tui.server.errors import ApiError, invalid, not_supported
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.responses.ids import input_id

ROLES = ("user", "assistant", "system", "developer")
CALLS = ("function_call", "custom_tool_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output")
FORGOTTEN = ("web_search_call", "code_interpreter_call")
"""Calls of the server's own tools. The models were trained to forget these together with the thoughts of a turn."""

_ELSEWHERE = (
    *("computer_call", "computer_call_output", "file_search_call", "image_generation_call", "program"),
    *("local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "program_output"),
    *("apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_approval_request", "mcp_call"),
    *("mcp_approval_response", "tool_search_call", "tool_search_output", "additional_tools", "configuration_update"),
    *("compaction", "compaction_trigger"),
)
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
_SEALED = "gptoss-tui:1:"


def kind_of(item: Fields) -> str:
    """The type of an item; messages and references may omit it. Raises ApiError."""
    kind = item.text("type")
    if kind is None:
        kind = "message" if item.has("role") else "item_reference" if item.has("id") else None
    if kind is None:
        raise item.missing("type")
    return kind


def read_input(fields: Fields, response_id: str) -> list[dict[str, Any]]:
    """Read the items of `input`; a text becomes a user message. Each item gets a type and an id. Raises ApiError."""
    value = fields.values.get("input")
    if value is None:
        return []
    if isinstance(value, str):
        content = [{"type": "input_text", "text": value}]
        return [_named({"type": "message", "role": "user", "content": content}, response_id, 0)]
    if not isinstance(value, list):
        raise fields.wrong("input", "a string or an array of items")
    items = [{**item.values, "type": kind_of(item), "id": item.text("id")} for item in fields.children("input")]
    return [_named(item, response_id, index) for index, item in enumerate(items)]


def _named(item: dict[str, Any], response_id: str, index: int) -> dict[str, Any]:
    if item.get("id") is None:
        prefix = _PREFIXES.get(item["type"], "fco" if item["type"] in OUTPUTS else "item")
        item["id"] = input_id(prefix, response_id, index)
    if item["type"] == "message":
        item.setdefault("status", "completed")
        if isinstance(item.get("content"), str):
            kind = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = [{"type": kind, "text": item["content"]}]
    return item


def read_items(items: Sequence[Mapping[str, Any]], tools: Sequence[OfferedTool], where: str) -> Iterator[Message]:
    """Convert items to messages, each call next to its reply. `where` is the items' path in the request.

    Raises ApiError.
    """
    every = [Fields(item, f"{where}[{index}]" if where else "") for index, item in enumerate(items)]
    answers = _answers(every)
    for item in every:
        kind = kind_of(item)
        if kind in CALLS:
            yield from _call(item, kind, tools, answers)
        elif kind == "message":
            yield from _message(item)
        elif kind == "reasoning":
            if thought := read_thought(item):
                yield Message("assistant", thought, channel="analysis")
        elif kind in _ELSEWHERE:
            raise not_supported(f"An item of type '{kind}'", item.param("type"))
        elif kind not in (*OUTPUTS, *FORGOTTEN):
            raise item.wrong("type", "the type of an input item")
    if left := next((item for waiting in answers.values() for item in waiting), None):
        raise _no_call(left)


def _answers(items: Sequence[Fields]) -> dict[str, list[Fields]]:
    found: dict[str, list[Fields]] = {}
    for item in items:
        if kind_of(item) in OUTPUTS:
            found.setdefault(item.required_text("call_id"), []).append(item)
    return found


def _call(
    item: Fields, kind: str, tools: Sequence[OfferedTool], answers: Mapping[str, list[Fields]]
) -> Iterator[Message]:
    name, namespace = item.required_text("name"), item.text("namespace") or FUNCTIONS
    recipient = f"{namespace}.{name}"
    text = item.required_text("arguments" if kind == "function_call" else "input")
    tool = next((tool for tool in tools if tool.recipient == recipient), None)
    if tool is None and kind == "custom_tool_call":
        tool = OfferedTool("custom", name, recipient)
    call_id = item.required_text("call_id")
    waiting = answers.get(call_id)
    if not waiting:
        raise invalid(f"No tool output found for function call {call_id[:80]}.", item.param("call_id"))
    yield tool_call(tool, recipient, text)
    yield tool_reply(recipient, read_text(waiting.pop(0), "output"))


def _no_call(item: Fields) -> ApiError:
    call_id = item.required_text("call_id")
    return invalid(f"No tool call found for function call output with call_id {call_id[:80]}.", item.param("call_id"))


def _message(item: Fields) -> Iterator[Message]:
    role = item.choice("role", ROLES)
    if role is None:
        raise item.missing("role")
    text = read_text(item)
    if role == "user":
        yield Message("user", text)
    elif role == "assistant":
        if text:
            channel = "commentary" if item.text("phase") == "commentary" else "final"
            yield Message("assistant", text, channel=channel)
    elif text:
        yield developer_message(text)


def read_thought(item: Fields) -> str:
    """The thought in a reasoning item: its text, or what `seal` encoded. Summaries are ignored. Raises ApiError."""
    text = read_text(item, optional=True)
    return text or unseal(item.text("encrypted_content") or "")


def seal(thought: str) -> str:
    """Encode a thought as `encrypted_content`, for clients that keep nothing else of it. It is opaque, not secret."""
    return base64.b64encode((_SEALED + thought).encode()).decode()


def unseal(text: str) -> str:
    """The text that `seal` encoded; empty if another server produced it."""
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return plain.removeprefix(_SEALED) if plain.startswith(_SEALED) else ""
