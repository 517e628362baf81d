"""Reads the JSON body of a request, limiting its size, time and depth."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, NoReturn

from aiohttp import hdrs, web

from gptoss_tui.server.errors import ApiError, invalid
from gptoss_tui.server.fields import Fields
from gptoss_tui.server.service import SERVICE, Service

MAX_BYTES = 16 * 2**20
"""Bytes. A prompt that fills the whole context has less than a tenth of this."""

MAX_READING = 256 * 2**20
"""Limit in bytes for all bodies together that have not arrived completely."""

MAX_DEPTH = 100
MAX_VALUES = 200_000
"""Approximate limit per body. Parsing a body holds up all other requests, by the number of values rather than bytes."""

READ_SECONDS = 30.0

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


async def read_body(request: web.Request, *, typed: bool = True) -> Fields:
    """Return the JSON object in the request's body.

    The content type must be JSON; unless `typed`, it may also be missing. Raises ApiError.
    """
    if request.content_type != "application/json" and (typed or hdrs.CONTENT_TYPE in request.headers):
        raise ApiError(415, "The request must have the header 'Content-Type: application/json'.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiError(415, "The body must not be compressed.")  # a small one could expand to any size
    if (request.content_length or 0) > MAX_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(READ_SECONDS):
            return parse_body(await _read(request, request.app[SERVICE]))
    except TimeoutError:
        raise ApiError(408, f"The body did not arrive within {READ_SECONDS:g} seconds.") from None


async def _read(request: web.Request, service: Service) -> bytes:
    """Read the whole body. Unfinished bodies have a common limit, so that many clients cannot fill the memory."""
    data = bytearray()
    try:
        async for chunk in request.content.iter_any():
            data += chunk
            service.reading += len(chunk)
            if len(data) > MAX_BYTES:
                raise _too_large()
            if service.reading > MAX_READING:
                raise ApiError(503, "Too much is being sent to the server.", code="overloaded", retry_after=1)
    finally:
        service.reading -= len(data)
    return bytes(data)


def _too_large() -> ApiError:
    return ApiError(413, f"The body is larger than {MAX_BYTES} bytes.")


def parse_body(data: bytes) -> Fields:
    """Parse the JSON object in `data`. Raises ApiError for anything else, for NaN, and if it is too deep or large."""
    # Counts those inside texts as well: no text that fits into a context has that many.
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise invalid(f"The body has more than {MAX_VALUES} values.")
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise invalid(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise invalid(f"The body is not valid JSON: {error}"[:300]) from None
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object.")
    _check(value, surrogates=_SURROGATE.search(data) is not None)
    return Fields(value, size=len(data))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")


def _check(value: Any, *, surrogates: bool) -> None:
    """Limit the depth, and reject texts that cannot be encoded because they contain half of a surrogate pair."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
                inner += one if surrogates else ()
            elif isinstance(one, list):
                inner += one
            elif surrogates and isinstance(one, str) and not _is_text(one):
                raise invalid("The body has a text with half of a surrogate pair.")
        if not inner:
            return
        level = inner
    raise invalid(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
