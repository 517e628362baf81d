"""Converts another program's answers to text for the model: tool results, resources, prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.types import CallToolResult, GetPromptResult, ReadResourceResult

MAX_TEXT = 256 * 1024


def result_text(result: CallToolResult) -> str:
    """The text of a result; other content is only named."""
    parts = [_block(block) for block in result.content]
    structured = result.structured_content
    if structured is not None and not any(parts):
        parts.append(json.dumps(structured, ensure_ascii=False, indent=1))
    return _cut("\n".join(parts) or "[no output]")


def resource_text(result: ReadResourceResult) -> str:
    """The text of a resource, which may have several parts; other content is only named."""
    return _cut("\n".join(map(_contents, result.contents)) or "[no content]")


def prompt_text(result: GetPromptResult) -> str:
    """The messages of a prompt as one text for the user to send; those of the assistant are marked."""
    said = [(message.role, _block(message.content)) for message in result.messages]
    return _cut("\n\n".join(text if role == "user" else f"[{role}]\n{text}" for role, text in said))


def _block(block: Any) -> str:
    """A block of content as text; empty for an unknown type."""
    if block.type == "text":
        return str(block.text)
    if block.type in ("image", "audio"):
        return f"[{block.type} {block.mime_type}, {_bytes(block.data)} bytes: it cannot be shown]"
    if block.type == "resource_link":
        return f"[resource {block.uri}]"
    return _contents(block.resource) if block.type == "resource" else ""


def _contents(contents: Any) -> str:
    text = getattr(contents, "text", None)
    return text if isinstance(text, str) else f"[resource {contents.uri}: it is no text]"


def _bytes(base64: str) -> int:
    return len(base64) * 3 // 4 - base64[-2:].count("=")


def _cut(text: str) -> str:
    return (
        text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n[{len(text) - MAX_TEXT} more characters are left out]"
    )
