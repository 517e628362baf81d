"""The process that queries DuckDuckGo: `python -m gptoss_tui.tools.browser.search.duckduckgo_worker`.

It reads JSON from stdin and writes JSON to stdout. The library would use the proxies in the environment and cannot be
stopped while it waits; a process with a minimal environment has no proxies and can be killed.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

_SECONDS = 10


def main() -> None:
    """Run the one search that is on stdin."""
    logging.disable()
    json.dump(_search(json.load(sys.stdin)), sys.stdout)


def _search(job: dict[str, Any]) -> dict[str, Any]:
    try:
        from ddgs import DDGS
        from ddgs.engines.duckduckgo import Duckduckgo
        from ddgs.exceptions import DDGSException
    except ImportError:
        return {"missing": True}
    if job["page"]:
        Duckduckgo.search_url = job["page"]
    try:
        found = DDGS(proxy=job["proxy"], timeout=_SECONDS).text(
            job["query"], max_results=job["topn"], backend="duckduckgo"
        )
    except DDGSException as error:
        return {"error": "" if "No results" in str(error) else str(error)[:200]}
    return {"results": found}


if __name__ == "__main__":
    main()
