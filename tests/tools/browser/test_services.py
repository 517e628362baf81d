"""Search services: what is sent, and what is made of answers in the shapes that their documentation shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import SearchResult
from gptoss_tui.tools.browser.search.duckduckgo import DuckDuckGo
from gptoss_tui.tools.browser.search.services import ApiSearch, Brave, Exa, SearXNG, Service, Tavily, YouCom, cleaned
from gptoss_tui.tools.net.errors import StatusError, UnreachableError
from tests.tools.net.servers import Site, response, serve_site

KEY = "key-0123456789abcdef"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serve_site() as running:
        yield running


async def no_pause(seconds: float) -> None:
    return None


EXA = {
    "requestId": "b5947044c4b78efa9552a7c89b306d95",
    "resolvedSearchType": "neural",
    "results": [
        {
            "id": "https://a.org/one",
            "url": "https://a.org/one",
            "title": "One &amp; more",
            "publishedDate": "2026-01-01T00:00:00.000Z",
            "author": None,
            "score": 0.35,
            "highlights": ["First passage.", "Second\npassage."],
            "highlightScores": [0.9, 0.8],
        },
        {"id": "https://b.org/", "url": "https://b.org/", "title": None, "summary": "A summary."},
    ],
    "costDollars": {"total": 0.005},
}
YOU = {
    "results": {
        "web": [
            {
                "url": "https://a.org/one",
                "title": "One & more",
                "description": "About one.",
                "snippets": ["First passage.", "Second passage."],
                "page_age": "2026-01-01T00:00:00",
            }
        ],
        "news": [{"title": "", "url": "https://b.org/", "description": "A summary.", "page_age": "2026-01-01"}],
    },
    "metadata": {"search_uuid": "6c0b", "query": "x", "latency": 0.3},
}
BRAVE = {
    "type": "search",
    "query": {"original": "x", "more_results_available": True},
    "mixed": {"type": "mixed", "main": [{"type": "web", "index": 0, "all": False}]},
    "web": {
        "type": "search",
        "results": [
            {
                "title": "One &amp; more",
                "url": "https://a.org/one",
                "is_source_local": False,
                "description": "First <strong>passage</strong>. … Second passage.",
                "meta_url": {"scheme": "https", "netloc": "a.org"},
            },
            {"title": "", "url": "https://b.org", "description": "A summary."},
        ],
    },
}
TAVILY = {
    "query": "x",
    "answer": None,
    "images": [],
    "results": [
        {
            "title": "One & more",
            "url": "https://a.org/one",
            "content": "First passage. … Second passage.",
            "score": 0.98,
        },
        {"title": "", "url": "https://b.org/", "content": "A summary.", "score": 0.5, "raw_content": None},
    ],
    "response_time": 1.2,
}
SEARXNG = {
    "query": "x",
    "number_of_results": 0,
    "results": [
        {
            "url": "https://a.org/one",
            "title": "One & more",
            "content": "First passage. … Second passage.",
            "engine": "brave",
            "parsed_url": ["https", "a.org", "/one", "", "", ""],
            "engines": ["brave", "startpage"],
            "positions": [1],
            "score": 2.0,
            "category": "general",
        },
        {"url": "https://b.org/", "title": "", "content": "A summary."},
    ],
    "answers": [],
    "infoboxes": [],
    "suggestions": [],
    "unresponsive_engines": [["duckduckgo", "CAPTCHA"]],
}
HITS = [
    SearchResult("One & more", "https://a.org/one", "First passage. … Second passage."),
    SearchResult("https://b.org/", "https://b.org/", "A summary."),
]


def service(name: str, base: str) -> Service:
    if name == "searxng":
        return SearXNG(f"{base}/")
    return {"exa": Exa, "youcom": YouCom, "brave": Brave, "tavily": Tavily}[name](KEY, base)


CASES: list[tuple[str, Any, str, dict[str, str], dict[str, Any]]] = [
    (
        "exa",
        EXA,
        "POST /search",
        {"x-api-key": KEY, "content-type": "application/json"},
        {"query": "x y", "numResults": 7, "contents": {"highlights": True}},
    ),
    ("youcom", YOU, "GET /v1/search", {"x-api-key": KEY}, {"query": ["x y"], "count": ["7"]}),
    (
        "brave",
        BRAVE,
        "GET /res/v1/web/search",
        {"x-subscription-token": KEY},
        {"q": ["x y"], "count": ["7"], "text_decorations": ["false"]},
    ),
    (
        "tavily",
        TAVILY,
        "POST /search",
        {"authorization": f"Bearer {KEY}"},
        {"query": "x y", "max_results": 7, "search_depth": "basic"},
    ),
    ("searxng", SEARXNG, "GET /search", {}, {"q": ["x y"], "format": ["json"]}),
]


@pytest.mark.parametrize(("name", "answer", "line", "headers", "sent"), CASES, ids=[case[0] for case in CASES])
async def test_what_is_sent_and_read(
    site: Site, name: str, answer: Any, line: str, headers: dict[str, str], sent: dict[str, Any]
) -> None:
    path = line.partition(" ")[2]
    site.page(path, json.dumps(answer), "application/json")
    engine = ApiSearch(service(name, f"http://127.0.0.1:{site.port}"), sleep=no_pause)
    assert await engine.search("x y", 7) == HITS
    assert await engine.search("x y", 1) == HITS[:1]
    method, asked, got, body = site.requests[0]
    assert f"{method} {urlsplit(asked).path}" == line
    assert headers.items() <= got.items()
    assert (json.loads(body) if body else parse_qs(urlsplit(asked).query)) == sent


@pytest.mark.parametrize("name", [case[0] for case in CASES])
async def test_errors(site: Site, name: str) -> None:
    engine = ApiSearch(service(name, f"http://127.0.0.1:{site.port}"), sleep=no_pause)
    path = next(case[2].partition(" ")[2] for case in CASES if case[0] == name)
    for status, requests in ((403, 1), (429, 3), (500, 3)):
        site.requests.clear()
        site.answers[path] = response(status, b"no" if name == "searxng" else f"no: {KEY}".encode())
        with pytest.raises(StatusError) as raised:
            await engine.search("x", 5)
        assert len(site.requests) == requests
        assert KEY not in raised.value.message
        assert engine.name in raised.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("https://a.org/"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["results", "web", "news", "title", "url", "highlights", "content"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_answers_of_any_shape_are_read(answer: Any) -> None:
    for name in ("exa", "youcom", "brave", "tavily", "searxng"):
        for hit in cleaned(service(name, "http://x.org").results(answer), 10):
            assert hit.url.startswith("http")


def test_only_the_web_is_found_and_each_page_once() -> None:
    urls = ["file:///etc/passwd", "javascript:x", "http://127.0.0.1/", "https://a.org/", "https://A.org:443", "nothing"]
    (hit,) = cleaned((SearchResult("<b>t</b>", url, "x" * 2000) for url in urls), 10)
    assert (hit.title, hit.url, len(hit.summary)) == ("t", "https://a.org/", 501)


DUCK = """<html><body><div class="result results_links"><div class="links_main result__body"><h2 class="result__title">
<a rel="nofollow" class="result__a" href="https://a.org/one">One &amp; more</a></h2>
<a class="result__snippet" href="https://a.org/one">First <b>passage</b>.</a></div></div>
<div class="result result--ad"><div class="links_main result__body"><h2><a href="https://duckduckgo.com/y.js?ad=1">Ad
</a></h2><a href="https://duckduckgo.com/y.js?ad=1">Buy</a></div></div></body></html>"""


async def test_duckduckgo(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real library, with the page that it reads on loopback; proxies of the environment are not used."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "DDGS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    engine = DuckDuckGo(page=f"http://127.0.0.1:{site.port}/html/", sleep=no_pause)
    site.page("/html/", DUCK)
    hits = await engine.search("x y", 5)
    assert [(hit.title, hit.url) for hit in hits] == [("One & more", "https://a.org/one")]
    assert "passage" in hits[0].summary
    assert site.requests[0][0] == "POST"
    assert parse_qs(site.requests[0][3].decode())["q"] == ["x y"]
    site.requests.clear()
    site.answers["/html/"] = response(202, b"are you a robot?")
    with pytest.raises(UnreachableError, match="too many requests"):
        await engine.search("x y", 5)
    assert len(site.requests) == 2


async def test_duckduckgo_out_of_reach() -> None:
    with pytest.raises(UnreachableError, match="DuckDuckGo cannot be reached"):
        await DuckDuckGo(page="http://127.0.0.1:1/", sleep=no_pause).search("x", 5)


async def test_a_service_that_is_not_there() -> None:
    with pytest.raises(ToolError, match="SearXNG cannot be reached"):
        await ApiSearch(SearXNG("http://127.0.0.1:1"), sleep=no_pause).search("x", 5)
