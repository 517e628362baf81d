"""Frames between the host and the worker. What comes out of a sandbox is hostile: lengths and shapes are checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_FRAME = 1 << 20
"""No frame of the worker is longer, in bytes."""


class ProtocolError(Exception):
    """The other side does not speak the protocol; it is not to be talked to any more."""


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as a frame: 4 bytes of length, big endian, and JSON."""
    return pack(json.dumps(message).encode())


def pack(data: bytes) -> bytes:
    """Bytes with their length in front."""
    return len(data).to_bytes(4, "big") + data


class FrameReader:
    """Bytes in, messages out. Holds at most one frame."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete now. Raises ProtocolError."""
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
