"""Reads one web page under a policy: public hosts only, limited redirects, bytes and seconds, and no cookies."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss_tui import __version__
from gptoss_tui.tools.net import bodies
from gptoss_tui.tools.net.connect import (
    Lookup,
    Refusal,
    checked_lookup,
    guarded_connector,
    not_public,
    system_lookup,
)
from gptoss_tui.tools.net.errors import (
    FetchError,
    RedirectError,
    StatusError,
    TooSlowError,
    UnreachableError,
    told,
)
from gptoss_tui.tools.net.urls import WEB_PORTS, WebUrl, parse_web_url

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

USER_AGENT = f"Mozilla/5.0 (compatible; gptoss-tui/{__version__})"

_HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "text/html, application/xhtml+xml, text/markdown, text/plain, application/pdf;q=0.9, */*;q=0.5",
    "Accept-Encoding": bodies.ACCEPTED,
}
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class NetPolicy:
    """What may be reached, and how much of it is read.

    `max_bytes` limits the body both before and after decompression. `seconds` is for a page with all its redirects.
    `proxy`, if set, is used for everything; proxies from the environment are always ignored. `lookup` and `refusal`
    are fixed by the program: no setting changes them.
    """

    max_bytes: int = 10 << 20
    seconds: float = 20.0
    max_redirects: int = 5
    ports: Set[int] | None = WEB_PORTS
    proxy: str | None = None
    lookup: Lookup = system_lookup
    refusal: Refusal = not_public


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. `url` is its address after redirects; `charset` is what the server declared, or empty."""

    url: WebUrl
    content_type: str
    charset: str
    body: bytes


async def fetch(url: WebUrl, policy: NetPolicy, may_follow: Callable[[WebUrl], bool] = lambda url: True) -> Fetched:
    """Read `url`. Raises a subclass of FetchError that says what was wrong.

    Each redirect is checked like the first address. `may_follow` decides on redirects to another origin; one that it
    refuses raises a RedirectError that names the address.
    """
    await load_library()
    try:
        async with asyncio.timeout(policy.seconds):
            return await _follow(url, policy, may_follow)
    except TimeoutError:
        raise TooSlowError(f"{url.host} did not send its answer within {policy.seconds:.0f} seconds.") from None


async def load_library() -> None:
    """Import the HTTP library in a thread: it takes long enough to freeze the screen noticeably."""
    await asyncio.to_thread(importlib.import_module, "aiohttp")


async def _follow(url: WebUrl, policy: NetPolicy, may_follow: Callable[[WebUrl], bool]) -> Fetched:
    for _ in range(policy.max_redirects + 1):
        answer = await _exchange(url, policy)
        if isinstance(answer, Fetched):
            return answer
        following = parse_web_url(answer, base=url.text, ports=policy.ports)
        if following.origin != url.origin and not may_follow(following):
            raise RedirectError(
                f"{url.text} leads to {following.text}, on another host. Open that address if you need it.",
                url=following.text,
            )
        url = following
    raise RedirectError(f"{url.host} leads on and on: more than {policy.max_redirects} redirects.")


async def _exchange(url: WebUrl, policy: NetPolicy) -> Fetched | str:
    """Make one request. Returns its answer, or the address that it redirects to."""
    import aiohttp
    from yarl import URL

    if policy.proxy:
        await _check_for_proxy(url, policy)
    target = URL(url.text, encoded=True)
    if (target.scheme, target.raw_host, target.port) != (url.scheme, url.host, url.port):
        raise FetchError(f"Error fetching URL `{url.text}`: it can be read in more than one way.")
    try:
        async with (
            _session(policy) as session,
            session.get(target, allow_redirects=False, proxy=policy.proxy) as response,
        ):
            return await _read(url, response, policy)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _typed(url, error) from error


def _session(policy: NetPolicy) -> ClientSession:
    import aiohttp

    # A proxy is the user's own choice and may be in a private network; with one, nothing else is connected to.
    guard = (lambda address, port: None) if policy.proxy else policy.refusal
    lookup = system_lookup if policy.proxy else policy.lookup
    return aiohttp.ClientSession(
        connector=guarded_connector(lookup, guard),
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=policy.seconds),
        read_bufsize=1 << 16,
    )


async def _check_for_proxy(url: WebUrl, policy: NetPolicy) -> None:
    """Refuse a name that leads into our own network before asking the proxy, which does its own lookups."""
    try:
        await checked_lookup(url.host, url.port, policy.lookup, policy.refusal)
    except FetchError:
        raise
    except OSError:
        return  # only the proxy can look names up here


async def _read(url: WebUrl, response: ClientResponse, policy: NetPolicy) -> Fetched | str:
    if response.status in _REDIRECTS and (location := response.headers.get("Location")):
        return location
    if response.status != 200:
        raise StatusError(
            f"Error fetching URL `{url.text}`: the server answered {response.status} {(response.reason or '')[:80]}",
            status=response.status,
            retry_after=retry_after(response.headers.get("Retry-After", "")),
        )
    packed = bodies.encodings(",".join(response.headers.getall("Content-Encoding", [])))
    body = await bodies.read_body(response.content.iter_chunked(1 << 16), packed, policy.max_bytes)
    return Fetched(url, response.content_type.lower(), response.charset or "", body)


def retry_after(header: str) -> float | None:
    """The seconds in a `Retry-After` header, or None; dates are not supported."""
    return float(header) if header.strip().isdecimal() and len(header) < 6 else None


def _typed(url: WebUrl, error: Exception) -> FetchError:
    """Convert an exception to one of our errors. If a FetchError caused it, return that."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FetchError):
            return cause
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError):
        return TooSlowError(f"{url.host} does not answer.")
    return UnreachableError(f"Error fetching URL `{url.text}`: {told(error)[:200]}")
