"""Converts a client's prompt to one message in the same form as in the other user interfaces.

A link to a file becomes its name, and the model reads the file with its tools. Embedded content is attached in full if
it is small enough.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from acp.schema import (
    AudioContentBlock,
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    ResourceContentBlock,
    TextContentBlock,
    TextResourceContents,
)

from gptoss_tui.agent.attached import join_message
from gptoss_tui.errors import UsageError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tools.formats import format_read

Block = TextContentBlock | ImageContentBlock | AudioContentBlock | ResourceContentBlock | EmbeddedResourceContentBlock

MAX_CHARS: Final = 48_000
_CHARS_PER_TOKEN: Final = 3


def room_for(context: int | None) -> int:
    """How many characters may be attached to one message: at most half of a context of `context` tokens."""
    return min(MAX_CHARS, context * _CHARS_PER_TOKEN // 2) if context else MAX_CHARS


def message_of(blocks: Sequence[Block], root: Path, room: int = MAX_CHARS) -> str:
    """Convert a prompt to a message. Raises UsageError for images and audio, which the models do not support."""
    typed: list[str] = []
    attached: list[str] = []
    for block in blocks:
        match block:
            case TextContentBlock():
                typed.append(block.text)
            case ResourceContentBlock():
                typed.append(_mention(block.uri, block.name, root))
            case EmbeddedResourceContentBlock():
                resource = block.resource
                typed.append(_mention(resource.uri, resource.uri, root))
                left = room - sum(map(len, attached))
                attached.append(
                    _embedded(resource, root, left)
                    if isinstance(resource, TextResourceContents)
                    else (f"[{_name(resource.uri, root)}: not a text; not attached]")
                )
            case _:
                raise UsageError("The models only read text, not images or audio")
    message = join_message("".join(typed), attached)
    return message.encode(errors="replace").decode()  # lone surrogates become "?"


def _embedded(resource: TextResourceContents, root: Path, room: int) -> str:
    name, lines = _name(resource.uri, root), resource.text.removesuffix("\n").split("\n")
    if len(resource.text) > room:
        return f"[{name}: {len(resource.text)} characters, too large to attach; read_file reads parts of a file]"
    if "#" in name or not resource.text:
        return f"[{name}]\n{resource.text}".rstrip("\n")
    return format_read(name, lines, start=1, total=len(lines))


def _mention(uri: str, name: str, root: Path) -> str:
    """The mention of a resource in the text: `@src/app.py`, or its title and address if it is not a file."""
    if _file_of(uri) is None:
        return to_terminal_line(uri if name == uri else f"{name} ({uri})")
    path = _name(uri, root)
    return f'@"{path}"' if any(char.isspace() for char in path) else f"@{path}"


def _name(uri: str, root: Path) -> str:
    """A file's path, relative to the workspace if inside it, with the fragment of the address; else the address."""
    path = _file_of(uri)
    if path is None:
        return to_terminal_line(uri)
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    fragment = urlsplit(uri).fragment
    return to_terminal_line(shown + (f"#{fragment}" if fragment else ""))


def _file_of(uri: str) -> Path | None:
    """The file that a `file:` address names; None for other addresses and for invalid ones."""
    try:
        parts = urlsplit(uri)
        return Path(os.path.realpath(unquote(parts.path))) if parts.scheme == "file" else None
    except ValueError:
        return None
