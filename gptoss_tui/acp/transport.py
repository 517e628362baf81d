"""JSON-RPC, one message a line. Whatever a client sends is answered or passed by; nothing but its end ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final, TypeGuard

_NOTIFICATIONS: Final = frozenset({"session/cancel"})
"""Those that mean something here; others, of extensions and of later versions, are passed by."""

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600

Message = dict[str, Any]


class LineTransport:
    """Messages over two byte streams; the `Transport` of the SDK. Ends when either side of the client is gone.

    The reader's limit is that of a message.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()
        self._gone = False

    async def receive(self) -> Message | None:
        """The next message that is one; None when the client is gone. What is none is answered with an error."""
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
        """Write a message; waits for a client that reads slowly. To one that is gone nothing is written."""
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
        """Write no more."""
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
        """Read on to the end of a line that is too long, and keep nothing of it."""
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
