"""Decodes a server's stream, in pieces of any size: server-sent events, or one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gptoss_tui.errors import EngineError

MAX_EVENT = 4 * 1024 * 1024
"""Bytes. No event of a generation comes close; without a limit a server could fill this machine's memory."""

_DONE = b"[DONE]"


class EventDecoder:
    """Bytes in, JSON objects out. Lines may be cut anywhere, even inside a character."""

    def __init__(self) -> None:
        self.done = False
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that `chunk` completes. Raises EngineError for invalid or endless events."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_EVENT:
            raise EngineError("The server's reply has a line without an end")
        for line in lines:
            if (event := self._line(line.removesuffix(b"\r"))) is not None:
                yield event

    def finish(self) -> Iterator[dict[str, Any]]:
        """Yield the event that the server did not end with a line end, if any."""
        for line in (self._rest, b""):
            if (event := self._line(line)) is not None:
                yield event
        self._rest = b""

    def _line(self, line: bytes) -> dict[str, Any] | None:
        if line.startswith(b"{"):
            return _parsed(line)
        if not line:
            data, self._data, self._size = b"\n".join(self._data), [], 0
            return self._event(data) if data else None
        field, _, value = line.partition(b":")
        if field in (b"data", b"error"):  # llama.cpp used to send errors in a separate field
            self._data.append(value.removeprefix(b" "))
            self._size += len(value) + 1  # for the line end: lines without data take memory too
            if self._size > MAX_EVENT:
                raise EngineError("The server's reply has an event without an end")
        return None

    def _event(self, data: bytes) -> dict[str, Any] | None:
        if data.strip() == _DONE:
            self.done = True
            return None
        return _parsed(data)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EngineError("The server's reply cannot be read: it is not JSON") from error
    if not isinstance(value, dict):
        raise EngineError("The server's reply cannot be read: it is not a JSON object")
    return value
