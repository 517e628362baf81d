"""Nobody gets from the web to a machine inside: a corpus of URLs, by each of the ways in which one is opened."""

from __future__ import annotations

import asyncio
import json
import socket

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.tool import Browser
from gptoss_tui.tools.browser.web import Web
from gptoss_tui.tools.net.errors import FetchError, RedirectError, RefusedAddressError, UnreachableError
from gptoss_tui.tools.net.fetch import NetPolicy, fetch
from gptoss_tui.tools.net.urls import parse_web_url
from tests.tools.browser.engines import NoSearch
from tests.tools.net.corpus import NAMES, urls
from tests.tools.net.servers import Canary, Site

AT_LEAST = 300


def browser(site: Site) -> Browser:
    return Browser(Web(NoSearch(), site.policy(NAMES)), len)


async def opened(browser: Browser, **arguments: object) -> str:
    """What opening says, whether anybody would have allowed it or not."""
    call = await browser.tools[1].prepare(json.dumps(arguments))
    return (await call.run(lambda text: None)).text


async def refused(browser: Browser, link: int) -> bool:
    """Whether the link is refused as an address; False when there is no such link."""
    with pytest.raises(ToolError) as raised:
        await opened(browser, cursor=0, id=link)
    return isinstance(raised.value, FetchError)


async def test_no_url_leads_inside(site: Site, canary: Canary) -> None:
    corpus = urls(canary.port)
    assert len(corpus) >= AT_LEAST
    target = browser(site)
    for url in corpus:
        with pytest.raises(FetchError):
            await opened(target, id=url)
    assert canary.hits == 0


async def test_no_link_leads_inside(site: Site, canary: Canary) -> None:
    site.page("/links", "".join(f"<a href='{url}'>link</a>\n" for url in urls(canary.port)))
    target = browser(site)
    await opened(target, id=site.url("/links"))
    links = 0
    while await refused(target, links):
        links += 1
    assert links >= AT_LEAST
    assert canary.hits == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_leads_inside(site: Site, canary: Canary, status: int) -> None:
    corpus = urls(canary.port)
    # Each kind of redirect with a part of the corpus; 302, the usual one, with all of it.
    chosen = corpus if status == 302 else corpus[status % 5 :: 5]
    policy = site.policy(NAMES)
    refused = 0
    for number, url in enumerate(chosen):
        site.redirect(f"/{number}", url.replace("\r\n", ""), status)
        with pytest.raises(FetchError):
            await fetch(parse_web_url(site.url(f"/{number}"), ports=None), policy)
        refused += 1
    assert refused == len(chosen) >= (AT_LEAST if status == 302 else 60)
    assert len(site.requests) >= refused  # `http:x` is a path of the same host
    assert canary.hits == 0


async def test_the_corpus_bites(canary: Canary) -> None:
    """The same URLs with a client that does not look get to the canary: what the tests above count is not nothing."""

    class Names(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            loop = asyncio.get_running_loop()
            found = [NAMES[host][-1]] if host in NAMES else [i[4][0] for i in await loop.getaddrinfo(host, port)]
            return [
                {"hostname": host, "host": str(a), "port": port, "family": family, "proto": 0, "flags": 0}
                for a in found
            ]

        async def close(self) -> None:
            return None

    timeout = aiohttp.ClientTimeout(total=0.5)
    connector = aiohttp.TCPConnector(resolver=Names(), use_dns_cache=False, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for url in urls(canary.port):
            if "127.0.0.1" in url or "localhost" in url or "0.0.0.0" in url or "plain-" in url or "[::1]" in url:
                try:
                    async with session.get(url) as response:
                        await response.read()
                except (aiohttp.ClientError, OSError, ValueError, UnicodeError):
                    continue
    assert canary.hits >= 20


async def test_a_name_that_moves_between_looking_and_connecting(site: Site, canary: Canary) -> None:
    """It is looked up once, and what was looked at is what is connected, in each try anew."""
    answers = iter([["127.0.0.1"], ["::1"], ["127.0.0.2"], ["10.0.0.1"]])
    looked = 0

    async def lookup(host: str, port: int) -> list[str]:
        nonlocal looked
        looked += 1
        return next(answers)

    policy = site.policy(lookup=lookup)
    site.page("/", "hello")
    url = parse_web_url(f"http://rebinding.test:{site.port}/", ports=None)
    assert (await fetch(url, policy)).body == b"hello"
    for _ in range(3):
        with pytest.raises(RefusedAddressError):
            await fetch(parse_web_url(f"http://rebinding.test:{canary.port}/", ports=None), policy)
    assert (looked, len(site.requests), canary.hits) == (4, 1, 0)


async def test_a_redirect_to_the_same_name_looks_it_up_again(site: Site, canary: Canary) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])

    async def lookup(host: str, port: int) -> list[str]:
        return next(answers)

    site.redirect("/", f"http://rebinding.test:{canary.port}/")
    with pytest.raises(RefusedAddressError):
        await fetch(parse_web_url(f"http://rebinding.test:{site.port}/", ports=None), site.policy(lookup=lookup))
    assert (len(site.requests), canary.hits) == (1, 0)


async def test_the_socket_is_the_last_gate(canary: Canary) -> None:
    """A resolver that is wrong about an address changes nothing: the socket is not made."""
    first = True

    def refusal(address: str, port: int) -> str | None:
        nonlocal first
        allowed, first = first, False
        return None if allowed else "inside"

    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    url = parse_web_url(f"http://www.site.test:{canary.port}/", ports=None)
    with pytest.raises(RefusedAddressError, match="inside"):
        await fetch(url, NetPolicy(ports=None, lookup=lookup, refusal=refusal))
    assert canary.hits == 0


async def test_a_page_cannot_send_the_browser_on(site: Site, canary: Canary) -> None:
    inside = f"http://127.0.0.1:{canary.port}/"
    site.page(
        "/",
        f"<meta http-equiv=refresh content='0; url={inside}'><base href='{inside}'><iframe src='{inside}'></iframe>"
        f"<img src='{inside}'><link rel=stylesheet href='{inside}'><script src='{inside}'></script>text",
        Refresh=f"0; url={inside}",
        Link=f"<{inside}>; rel=preload",
    )
    assert "text" in await opened(browser(site), id=site.url("/"))
    assert canary.hits == 0


async def test_proxies_of_the_environment_are_not_used(
    site: Site, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    site.page("/", "hello")
    assert (await fetch(parse_web_url(site.url("/"), ports=None), site.policy())).body == b"hello"
    assert canary.hits == 0


async def test_a_proxy_that_is_configured_is_asked_for_everything_but_the_inside(site: Site, canary: Canary) -> None:
    """The site plays the proxy: it gets whole URLs, and none that leads inside."""
    site.answers["http://example.test:80/a"] = site.answers["http://example.test/a"] = b"HTTP/1.1 200 OK\r\n\r\nthrough"
    policy = site.policy(NAMES, proxy=f"http://127.0.0.1:{site.port}")
    assert (await fetch(parse_web_url("http://example.test/a"), policy)).body == b"through"
    asked = len(site.requests)
    for url in urls(canary.port):
        if "site.test" not in url:
            with pytest.raises(FetchError):
                await fetch(parse_web_url(url, ports=None), policy)
    assert (len(site.requests), canary.hits) == (asked, 0)


async def test_redirects_end(site: Site) -> None:
    site.redirect("/loop", "/loop")
    with pytest.raises(RedirectError, match="more than 5"):
        await fetch(parse_web_url(site.url("/loop"), ports=None), site.policy())
    assert len(site.requests) == 6


async def test_redirects_to_other_hosts_ask(site: Site) -> None:
    site.redirect("/away", "http://elsewhere.site.test/x?y#z")
    site.redirect("/near", "/page")
    site.page("/page", "here")
    seen: list[str] = []

    def may_follow(url: object) -> bool:
        seen.append(str(url))
        return False

    with pytest.raises(RedirectError) as raised:
        await fetch(parse_web_url(site.url("/away"), ports=None), site.policy(), may_follow)
    assert raised.value.url == "http://elsewhere.site.test/x?y"
    assert (await fetch(parse_web_url(site.url("/near"), ports=None), site.policy(), may_follow)).body == b"here"
    assert len(seen) == 1


async def test_names_that_are_not_there(site: Site) -> None:
    with pytest.raises(UnreachableError):
        await fetch(parse_web_url("http://nobody.example/"), site.policy())
