"""Tool calls as a client draws them: their kind, the locations they touch, and content blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from acp.helpers import text_block, tool_content, tool_diff_content
from acp.schema import (
    ContentToolCallContent,
    FileEditToolCallContent,
    TerminalToolCallContent,
    ToolCallLocation,
    ToolKind,
)

from gptoss_tui.acp.diffs import Diff, Hunk, read_diff
from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.tools.base import PreviewType

Content = ContentToolCallContent | FileEditToolCallContent | TerminalToolCallContent

SHOWN_CHARS: Final = 16_000
"""How much of a tool's output is sent to the client; the model reads all of it. Some clients only read 64 KiB lines."""

_MAX_LOCATIONS: Final = 50

_KINDS: Final[dict[str, ToolKind]] = {
    "read_file": "read",
    "list_files": "search",
    "search_files": "search",
    "apply_patch": "edit",
    "edit_file": "edit",
    "update_plan": "think",
    "shell": "execute",
    "python": "execute",
    "browser.search": "search",
    "browser.open": "fetch",
    "browser.find": "search",
}

_LANGUAGES: Final[dict[PreviewType, str]] = {"diff": "diff", "command": "sh", "code": "", "url": "", "text": ""}


def kind_of(tool: str, diff: Diff | None = None) -> ToolKind:
    """The protocol's kind of a tool. An edit that only deletes, or only moves files, gets that kind."""
    kind = _KINDS.get(tool, "other")
    if kind == "edit" and diff is not None and (diff.hunks or diff.rest):
        if all(hunk.deletes for hunk in diff.hunks) and not diff.rest:
            return "delete"
        if not diff.hunks and any(line.startswith("rename to ") for line in diff.rest):
            return "move"
    return kind


def arguments_of(tool: str, arguments: str) -> Any:
    """The arguments as the model wrote them, made safe for display: as an object if they are one."""
    try:
        value = json.loads(arguments)
        if isinstance(value, dict):
            return _safe(value)
    except (ValueError, RecursionError):
        pass
    return {"patch" if tool == "apply_patch" else "input": to_terminal_text(arguments)}


def _safe(value: Any) -> Any:
    """Make all texts in a JSON value safe for a terminal."""
    if isinstance(value, str):
        return to_terminal_text(value)
    if isinstance(value, list):
        return [_safe(part) for part in value]
    if isinstance(value, dict):
        return {to_terminal_text(key): _safe(part) for key, part in value.items()}
    return value


def argument_locations(root: Path, arguments: Any) -> list[ToolCallLocation]:
    """The location that a call's arguments name with `path` and `start_line`."""
    path, line = arguments.get("path"), arguments.get("start_line")
    if not isinstance(path, str) or not path:
        return []
    return [ToolCallLocation(path=str(root / path), line=line if isinstance(line, int) and line > 0 else None)]


def hunk_locations(root: Path, hunks: Sequence[Hunk]) -> list[ToolCallLocation]:
    """The location of the first hunk in each file."""
    first = {hunk.path: hunk for hunk in reversed(hunks)}
    places = [ToolCallLocation(path=str(root / hunk.path), line=hunk.line) for hunk in first.values()]
    return places[::-1][:_MAX_LOCATIONS]


def preview_content(root: Path, preview: str, preview_type: PreviewType) -> list[Content]:
    """Everything that a call does, from the preview of an `ApprovalRequest` or `ToolStarted`."""
    if preview_type != "diff":
        return [fenced(preview, _LANGUAGES[preview_type])] if preview else []
    diff = read_diff(preview)
    content: list[Content] = [_hunk_content(root, hunk) for hunk in diff.hunks]
    if diff.rest:
        content.append(fenced("\n".join(diff.rest), "diff"))
    return content


def _hunk_content(root: Path, hunk: Hunk) -> Content:
    old = None if hunk.old is None else to_terminal_text(hunk.old)
    return tool_diff_content(str(root / hunk.path), to_terminal_text(hunk.new), old)


def paragraph(text: str) -> Content:
    """A plain text block."""
    return tool_content(text_block(to_terminal_text(text)))


def fenced(text: str, language: str = "") -> Content:
    """A code block, in which nothing is interpreted as markup."""
    safe = to_terminal_text(text)
    longest = max((len(run) for run in re.findall(r"`{3,}", safe)), default=2)
    fence = "`" * (longest + 1)
    return tool_content(text_block(f"{fence}{language}\n{safe}\n{fence}"))


def output_content(output: str) -> Content:
    """A tool's output, cut if it is long."""
    text = output.rstrip("\n")
    if len(text) > SHOWN_CHARS:
        text = f"{text[:SHOWN_CHARS]}\n[{len(text) - SHOWN_CHARS} more characters are not shown]"
    return fenced(text)
