"""DuckDuckGo through the `ddgs` library: it needs no key, but the service does not guarantee an answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import SearchResult
from gptoss_tui.tools.browser.search.services import cleaned
from gptoss_tui.tools.child import end_child, start_child
from gptoss_tui.tools.net.errors import TooSlowError, UnreachableError
from gptoss_tui.tools.net.retry import Sleep, retrying

_SECONDS = 20.0
_TRIES = 2


class DuckDuckGo:
    """Searches with DuckDuckGo's HTML page for browsers without JavaScript, or with another such `page`."""

    name = "DuckDuckGo"

    def __init__(self, *, proxy: str | None = None, page: str = "", sleep: Sleep = asyncio.sleep) -> None:
        self._proxy = proxy
        self._page = page
        self._sleep = sleep

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """Return at most `topn` results. Raises ToolError."""
        job = {"query": query, "topn": topn, "proxy": self._proxy, "page": self._page}
        found = await retrying(lambda: _ask(job), tries=_TRIES, sleep=self._sleep)
        return cleaned((SearchResult(hit["title"], hit["href"], hit["body"]) for hit in found), topn)


async def _ask(job: dict[str, Any]) -> list[dict[str, str]]:
    """Run one search in a separate process. Raises ToolError."""
    process = await start_child("gptoss_tui.tools.browser.search.duckduckgo_worker")
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate(json.dumps(job).encode())
        answer = json.loads(said)
    except TimeoutError:
        raise TooSlowError(f"DuckDuckGo did not answer within {_SECONDS:.0f} seconds.") from None
    except ValueError:
        raise UnreachableError("DuckDuckGo cannot be reached: its process ended without an answer.") from None
    finally:
        await end_child(process)
    if "missing" in answer:
        raise ToolError("DuckDuckGo needs the package ddgs: `pip install ddgs`.")
    if "error" in answer:
        what = f"cannot be reached: {answer['error']}" if answer["error"] else _NOTHING
        raise UnreachableError(f"DuckDuckGo {what}")
    results: list[dict[str, str]] = answer["results"]
    return results


_NOTHING = "gave no results. It gives none either when there were too many requests from here."
