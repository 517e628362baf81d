"""JSON-RPC with one message per line. Invalid input is answered or ignored; only the end of the input ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final, TypeGuard

_NOTIFICATIONS: Final = frozenset({"session/cancel"})
"""The supported notifications; others, from extensions or later versions, are ignored."""

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600

Message = dict[str, Any]


class LineTransport:
    """The SDK's `Transport` over two byte streams. It ends when either stream is closed by the client.

    The reader's limit is the maximum size of a message.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()
        self._gone = False

    async def receive(self) -> Message | None:
        """Return the next valid message, or None when the client is gone. Invalid ones are answered with an error."""
        while not self._gone:
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial
                if not line:
                    break
            except asyncio.LimitOverrunError as error:
                await self._skip_line(error.consumed)
                await self._refuse(None, _INVALID_REQUEST, "The message is too long")
                continue
            except OSError:
                break
            if line.strip() and (message := await self._read(line)) is not None:
                return message
        return None

    async def send(self, message: Message) -> None:
        """Write a message, waiting for a slow client. Does nothing if the client is gone."""
        text = json.dumps(message, separators=(",", ":"), default=str, ensure_ascii=False)
        data = text.encode(errors="replace") + b"\n"
        async with self._sending:
            if self._gone:
                return
            try:
                self._writer.write(data)
                await self._writer.drain()
            except OSError:
                self._gone = True
                self._reader.feed_eof()

    async def close(self) -> None:
        """Stop writing and close the stream."""
        self._gone = True
        with contextlib.suppress(OSError):
            self._writer.close()

    async def _read(self, line: bytes) -> Message | None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            await self._refuse(None, _PARSE_ERROR, "Parse error")
            return None
        if not _is_message(message):
            known = message.get("id") if isinstance(message, dict) else None
            await self._refuse(known if _is_id(known) else None, _INVALID_REQUEST, "Invalid request")
            return None
        return message if "id" in message or message["method"] in _NOTIFICATIONS else None

    async def _refuse(self, request_id: int | str | None, code: int, what: str) -> None:
        await self.send({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": what}})

    async def _skip_line(self, consumed: int) -> None:
        """Discard the rest of a line that is too long."""
        while True:
            await self._reader.readexactly(consumed)
            try:
                await self._reader.readuntil(b"\n")
                return
            except asyncio.LimitOverrunError as error:
                consumed = error.consumed
            except (asyncio.IncompleteReadError, OSError):
                return


def _is_id(value: object) -> TypeGuard[int | str]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_message(value: object) -> TypeGuard[Message]:
    """Whether the SDK can take `value`: a request, a notification, or a response to something."""
    if not isinstance(value, dict) or ("id" in value and not _is_id(value["id"])):
        return False
    if "method" in value:
        return isinstance(value["method"], str)
    return "id" in value and isinstance(value.get("error", {}), dict)
