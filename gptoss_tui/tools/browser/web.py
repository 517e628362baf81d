"""The web as a backend: a search service finds pages, and this program reads them itself."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gptoss_tui.tools.browser.backend import Document, SearchResult
from gptoss_tui.tools.browser.extractor import Extractor
from gptoss_tui.tools.browser.permission import same_site
from gptoss_tui.tools.net.fetch import NetPolicy, fetch
from gptoss_tui.tools.net.retry import Sleep, retrying
from gptoss_tui.tools.net.urls import WebUrl, parse_web_url

_TRIES = 2


class SearchEngine(Protocol):
    """Finds pages of the web."""

    @property
    def name(self) -> str:
        """The name for users: `DuckDuckGo`."""
        ...

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """At most `topn` hits, the best first. Raises ToolError."""
        ...


class Web:
    """Reads web pages within `policy`, and finds them with `engine`."""

    remote = True

    def __init__(self, engine: SearchEngine, policy: NetPolicy | None = None, *, sleep: Sleep = asyncio.sleep) -> None:
        self._engine = engine
        self._policy = policy or NetPolicy()
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def description(self) -> str:
        return f"the web, searched with {self._engine.name}"

    def web_url(self, url: str) -> WebUrl:
        """Parse `url`, adding `https://` if needed. Raises ToolError for a refused address."""
        return parse_web_url(url if "://" in url else f"https://{url}", ports=self._policy.ports)

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        return await self._engine.search(query, topn)

    async def fetch(self, url: str) -> Document:
        """Read a page as text. It is parsed in a separate process, which starts up during the download."""
        extractor = await Extractor.start()
        try:
            start = self.web_url(url)
            found = await retrying(
                lambda: fetch(start, self._policy, lambda other: same_site(start, other)),
                tries=_TRIES,
                sleep=self._sleep,
            )
            return await extractor.read(
                found.body, content_type=found.content_type, charset=found.charset, url=found.url.text
            )
        finally:
            await extractor.close()
