"""DuckDuckGo through the `ddgs` library: no key, and no promise of the service that it will answer."""

from __future__ import annotations

import asyncio
from typing import Any

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import SearchResult
from gptoss_tui.tools.browser.search.services import cleaned
from gptoss_tui.tools.net.errors import UnreachableError
from gptoss_tui.tools.net.retry import Sleep, retrying

_SECONDS = 10


class DuckDuckGo:
    """Searches with DuckDuckGo's page for browsers without scripts."""

    name = "DuckDuckGo"

    def __init__(self, *, proxy: str | None = None, sleep: Sleep = asyncio.sleep) -> None:
        self._proxy = proxy
        self._sleep = sleep

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """At most `topn` hits. Raises ToolError."""
        found = await retrying(lambda: asyncio.to_thread(self._search, query, topn), tries=2, sleep=self._sleep)
        return cleaned((SearchResult(hit["title"], hit["href"], hit["body"]) for hit in found), topn)

    def _search(self, query: str, topn: int) -> list[dict[str, Any]]:
        try:
            from ddgs import DDGS
            from ddgs.exceptions import DDGSException
        except ImportError:
            raise ToolError("DuckDuckGo needs the package ddgs: `pip install ddgs`.") from None
        try:
            return DDGS(proxy=self._proxy, timeout=_SECONDS).text(query, max_results=topn, backend="duckduckgo")
        except DDGSException as error:
            if "No results" in str(error):
                raise UnreachableError(
                    "DuckDuckGo gave no results. It gives none either when there were too many requests from here."
                ) from error
            raise UnreachableError(f"DuckDuckGo cannot be reached: {str(error)[:200]}") from error
