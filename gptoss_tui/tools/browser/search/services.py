"""Search services with an API. Each class builds the request and parses the answer."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gptoss_tui.tools.browser.backend import SearchResult
from gptoss_tui.tools.net.api import ApiCall, call_api
from gptoss_tui.tools.net.errors import FetchError
from gptoss_tui.tools.net.retry import Sleep
from gptoss_tui.tools.net.urls import parse_web_url

_MAX_SUMMARY = 500
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")


class Service(Protocol):
    """One search service."""

    @property
    def name(self) -> str:
        """The name for users."""
        ...

    def call(self, query: str, topn: int) -> ApiCall:
        """The request to send."""
        ...

    def results(self, answer: Any) -> Iterator[SearchResult]:
        """Yield the results in an answer, which may have any shape."""
        ...


class ApiSearch:
    """A search engine that uses a service's API."""

    def __init__(self, service: Service, *, proxy: str | None = None, sleep: Sleep = asyncio.sleep) -> None:
        self._service = service
        self._proxy = proxy
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self._service.name

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """Return at most `topn` results. Raises ToolError."""
        answer = await call_api(self._service.call(query, topn), proxy=self._proxy, sleep=self._sleep)
        return cleaned(self._service.results(answer), topn)


@dataclass(frozen=True, slots=True)
class Exa:
    """https://exa.ai: returns passages that match the query."""

    key: str = field(repr=False)
    base: str = "https://api.exa.ai"
    name: str = "Exa"

    def call(self, query: str, topn: int) -> ApiCall:
        body = {"query": query, "numResults": topn, "contents": {"highlights": True}}
        return ApiCall(self.name, "POST", f"{self.base}/search", body=body, secret_headers={"x-api-key": self.key})

    def results(self, answer: Any) -> Iterator[SearchResult]:
        for hit in _hits(answer, "results"):
            yield SearchResult(_text(hit, "title"), _text(hit, "url"), _text(hit, "highlights", "summary", "text"))


@dataclass(frozen=True, slots=True)
class YouCom:
    """https://you.com: returns pages and news."""

    key: str = field(repr=False)
    base: str = "https://ydc-index.io"
    name: str = "You.com"

    def call(self, query: str, topn: int) -> ApiCall:
        params = {"query": query, "count": str(topn)}
        return ApiCall(self.name, "GET", f"{self.base}/v1/search", params, secret_headers={"X-API-Key": self.key})

    def results(self, answer: Any) -> Iterator[SearchResult]:
        for kind in ("web", "news"):
            for hit in _hits(answer, "results", kind):
                yield SearchResult(_text(hit, "title"), _text(hit, "url"), _text(hit, "snippets", "description"))


@dataclass(frozen=True, slots=True)
class Brave:
    """https://brave.com/search/api."""

    key: str = field(repr=False)
    base: str = "https://api.search.brave.com"
    name: str = "Brave"

    def call(self, query: str, topn: int) -> ApiCall:
        params = {"q": query, "count": str(min(topn, 20)), "text_decorations": "false"}
        secret = {"X-Subscription-Token": self.key}
        return ApiCall(self.name, "GET", f"{self.base}/res/v1/web/search", params, secret_headers=secret)

    def results(self, answer: Any) -> Iterator[SearchResult]:
        for hit in _hits(answer, "web", "results"):
            yield SearchResult(_text(hit, "title"), _text(hit, "url"), _text(hit, "description", "extra_snippets"))


@dataclass(frozen=True, slots=True)
class Tavily:
    """https://tavily.com."""

    key: str = field(repr=False)
    base: str = "https://api.tavily.com"
    name: str = "Tavily"

    def call(self, query: str, topn: int) -> ApiCall:
        body = {"query": query, "max_results": min(topn, 20), "search_depth": "basic"}
        secret = {"Authorization": f"Bearer {self.key}"}
        return ApiCall(self.name, "POST", f"{self.base}/search", body=body, secret_headers=secret)

    def results(self, answer: Any) -> Iterator[SearchResult]:
        for hit in _hits(answer, "results"):
            yield SearchResult(_text(hit, "title"), _text(hit, "url"), _text(hit, "content"))


@dataclass(frozen=True, slots=True)
class SearXNG:
    """A SearXNG instance at `base`, often the user's own. Its settings must allow the format `json`."""

    base: str
    name: str = "SearXNG"

    def call(self, query: str, topn: int) -> ApiCall:
        params = {"q": query, "format": "json"}
        refused = "refuses to answer: its settings.yml must list json under search.formats"
        return ApiCall(self.name, "GET", f"{self.base.rstrip('/')}/search", params, refused=refused)

    def results(self, answer: Any) -> Iterator[SearchResult]:
        for hit in _hits(answer, "results"):
            yield SearchResult(_text(hit, "title"), _text(hit, "url"), _text(hit, "content"))


def cleaned(found: Iterable[SearchResult], topn: int) -> list[SearchResult]:
    """The first `topn` results with valid web addresses, without duplicates, their texts as single plain lines."""
    kept: dict[str, SearchResult] = {}
    for hit in found:
        try:
            url = parse_web_url(hit.url).text
        except FetchError:
            continue
        if len(kept) < topn and url not in kept:
            summary = _line(hit.summary)
            summary = f"{summary[:_MAX_SUMMARY]}…" if len(summary) > _MAX_SUMMARY else summary
            kept[url] = SearchResult(_line(hit.title)[:200] or url, url, summary)
    return list(kept.values())


def _line(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", text[:20_000])).split())


def _hits(answer: Any, *path: str) -> Iterator[Mapping[str, Any]]:
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    yield from (hit for hit in answer if isinstance(hit, dict)) if isinstance(answer, list) else ()


def _text(hit: Mapping[str, Any], *names: str) -> str:
    """The first of the fields `names` with a non-empty text; a list of texts is joined."""
    for name in names:
        value = hit.get(name)
        if isinstance(value, list):
            value = " … ".join(part for part in value if isinstance(part, str))
        if isinstance(value, str) and value.strip():
            return value
    return ""
