"""Frames between the host and the worker. Data from a sandbox is untrusted, so lengths and shapes are checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_FRAME = 1 << 20
"""The longest frame accepted from the worker, in bytes."""


class ProtocolError(Exception):
    """The other side violated the protocol and must not be talked to any more."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Encode a message as a frame: a 4-byte big-endian length, then JSON."""
    return pack(json.dumps(message).encode())


def pack(data: bytes) -> bytes:
    """Prefix bytes with their length."""
    return len(data).to_bytes(4, "big") + data


class FrameReader:
    """Turns bytes into messages. Holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Add bytes and return the messages that are now complete. Raises ProtocolError."""
        self._data += data
        messages = []
        while len(self._data) >= 4:
            size = int.from_bytes(self._data[:4], "big")
            if size > MAX_FRAME:
                raise ProtocolError(f"a frame of {size} bytes")
            if len(self._data) < 4 + size:
                break
            messages.append(_parsed(bytes(self._data[4 : 4 + size])))
            del self._data[: 4 + size]
        return messages


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("a frame that is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("a frame that is not an object")
    return message
