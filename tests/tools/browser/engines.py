"""Search engines for tests of what comes after the search."""

from __future__ import annotations

from gptoss_tui.tools.browser.backend import SearchResult


class NoSearch:
    """Finds nothing."""

    name = "nobody"

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        return []


class Fixed:
    """Finds the same pages every time."""

    name = "fixed"

    def __init__(self, *urls: str) -> None:
        self._urls = urls

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        return [SearchResult(f"page {n}", url, "a summary") for n, url in enumerate(self._urls)][:topn]
