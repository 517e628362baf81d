"""What a tool of another program answered, as text for the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp.types import CallToolResult

MAX_TEXT = 256 * 1024


def result_text(result: CallToolResult) -> str:
    """The text of a result; what is no text is named."""
    parts: list[str] = []
    for block in result.content:
        if block.type == "text":
            parts.append(block.text)
        elif block.type in ("image", "audio"):
            size = len(block.data) * 3 // 4 - block.data[-2:].count("=")
            parts.append(f"[{block.type} {block.mime_type}, {size} bytes: it cannot be shown]")
        elif block.type == "resource_link":
            parts.append(f"[resource {block.uri}]")
        elif block.type == "resource":
            text = getattr(block.resource, "text", None)
            parts.append(text if isinstance(text, str) else f"[resource {block.resource.uri}: it is no text]")
    structured = result.structured_content
    if structured is not None and not any(parts):
        parts.append(json.dumps(structured, ensure_ascii=False, indent=1))
    text = "\n".join(parts) or "[no output]"
    return (
        text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n[{len(text) - MAX_TEXT} more characters are left out]"
    )
