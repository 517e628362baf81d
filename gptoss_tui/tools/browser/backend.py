"""Where pages come from: the common interface of the browser's backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gptoss_tui.tools.net.urls import WebUrl


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One search result. `summary` is a single line."""

    title: str
    url: str
    summary: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document as text. `text` contains marks such as `【0†label】`, whose number is an index into `links`.

    `source` is the original that the text was made from, for `view_source`.
    """

    url: str
    title: str
    text: str
    links: tuple[str, ...] = ()
    source: str = ""


class Backend(Protocol):
    """Finds documents and reads them."""

    @property
    def name(self) -> str:
        """The source of pages, in a word or two: `local documents`, `DuckDuckGo`."""
        ...

    @property
    def description(self) -> str:
        """One line for users: what is searched."""
        ...

    @property
    def remote(self) -> bool:
        """Whether documents come from third parties on the network."""
        ...

    def web_url(self, url: str) -> WebUrl | None:
        """The address that reading `url` would request; None if that stays on this machine. Raises ToolError."""
        ...

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """At most `topn` hits, the best first. Raises ToolError."""
        ...

    async def fetch(self, url: str) -> Document:
        """Read the document at `url`. Redirects to another host are not followed. Raises ToolError."""
        ...
