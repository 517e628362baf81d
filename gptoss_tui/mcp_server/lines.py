"""Presents two byte streams as the text file that the SDK reads and writes.

Unlike a file, it can be cancelled. Invalid messages are answered here, because the SDK ignores them and the host would
wait for an answer forever.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from mcp.types import jsonrpc_message_adapter
from pydantic import ValidationError

_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600


class Lines:
    """A file-like stream of messages, one per line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> str:
        """Return the next line that is a valid message."""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError:
                await self._refuse(_error(None, _INVALID_REQUEST, "The message is too long"))
                continue
            except OSError:
                line = b""
            if not line:
                raise StopAsyncIteration
            text = line.decode(errors="replace")
            if not text.strip():
                continue
            refusal = refusal_of(text)
            if refusal is None:
                return text
            await self._refuse(refusal)

    async def write(self, text: str) -> None:
        """Write text, waiting for a slow host. If the host is gone, reading ends as well."""
        try:
            self._writer.write(text.encode())
            await self._writer.drain()
        except OSError:
            self._reader.feed_eof()

    async def flush(self) -> None:
        """Do nothing, because nothing is buffered."""

    async def _refuse(self, refusal: dict[str, Any]) -> None:
        await self.write(json.dumps(refusal) + "\n")


def refusal_of(line: str) -> dict[str, Any] | None:
    """The error response to a line that the SDK would not accept; None if it accepts the line."""
    try:
        jsonrpc_message_adapter.validate_json(line, by_name=False)
        return None
    except ValidationError:
        pass
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return _error(None, _PARSE_ERROR, "Parse error")
    # Only a request has an id of the host's; the id of a response is ours.
    known = message.get("id") if isinstance(message, dict) and "method" in message else None
    is_id = isinstance(known, int | str) and not isinstance(known, bool)
    return _error(known if is_id else None, _INVALID_REQUEST, "Invalid request")


def _error(request_id: int | str | None, code: int, what: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": what}}
