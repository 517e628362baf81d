"""Calls a service that the user chose, with JSON in and out. Its key never appears in errors, logs or `repr`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gptoss_tui.tools.net import bodies
from gptoss_tui.tools.net.errors import FetchError, StatusError, TooSlowError, UnreachableError, UnreadableError, told
from gptoss_tui.tools.net.fetch import USER_AGENT, load_library, retry_after
from gptoss_tui.tools.net.retry import Sleep, retrying

_SECONDS = 20.0
_MAX_BYTES = 4 << 20
_MAX_SAID = 300


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request to the service that users know as `service`. `secret_headers` hold the key.

    `refused` is the error text for status 401 and 403.
    """

    service: str
    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    refused: str = "does not accept the key"


async def call_api(call: ApiCall, *, proxy: str | None = None, sleep: Sleep = asyncio.sleep) -> Any:
    """Return the service's JSON answer, retrying when that may help. Raises FetchError.

    The address is not checked, because the user chose it: a search engine may run on this machine.
    """
    await load_library()
    return await retrying(lambda: _once(call, proxy), sleep=sleep)


async def _once(call: ApiCall, proxy: str | None) -> Any:
    import aiohttp

    headers = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": bodies.ACCEPTED}
    try:
        async with (
            asyncio.timeout(_SECONDS),
            aiohttp.ClientSession(
                headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
            ) as session,
            session.request(
                call.method,
                call.url,
                params=call.params,
                json=call.body,
                headers=call.secret_headers,
                proxy=proxy,
                allow_redirects=False,
            ) as response,
        ):
            packed = bodies.encodings(",".join(response.headers.getall("Content-Encoding", [])))
            said = await bodies.read_body(response.content.iter_chunked(1 << 16), packed, _MAX_BYTES)
            status, wait = response.status, retry_after(response.headers.get("Retry-After", ""))
    except TimeoutError:
        raise TooSlowError(f"{call.service} did not answer within {_SECONDS:.0f} seconds.") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UnreachableError(f"{call.service} cannot be reached: {_hidden(call, told(error))}") from None
    if status != 200:
        raise _failed(call, status, said, wait)
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        raise UnreadableError(f"{call.service} answered something that is not JSON.") from None


def _failed(call: ApiCall, status: int, said: bytes, wait: float | None) -> FetchError:
    what = call.refused if status in (401, 403) else f"answered {status}"
    text = _hidden(call, " ".join(said.decode("utf-8", "replace").split()))
    return StatusError(f"{call.service} {what}{f': {text}' if text else '.'}", status=status, retry_after=wait)


def _hidden(call: ApiCall, text: str) -> str:
    """Shorten `text` for display and remove any secrets that the server repeated."""
    for value in call.secret_headers.values():
        for secret in {value, value.rpartition(" ")[2]}:
            text = text.replace(secret, "…")
    return text[:_MAX_SAID]
