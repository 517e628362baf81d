"""Where pages come from: the one interface of the browser's backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gptoss_tui.tools.net.urls import WebUrl


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One hit. `summary` is one line."""

    title: str
    url: str
    summary: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document as text. `text` has marks such as `【0†label】`, whose number is the place of a URL in `links`.

    `source` is what the text was made from, for `view_source`.
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
        """Who is asked, in a word or two: `local documents`, `DuckDuckGo`."""
        ...

    @property
    def description(self) -> str:
        """One line for people: what is searched."""
        ...

    @property
    def remote(self) -> bool:
        """Whether documents are other people's, from the network."""
        ...

    def web_url(self, url: str) -> WebUrl | None:
        """The address that reading `url` reaches; None when it stays on this machine. Raises ToolError."""
        ...

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """At most `topn` hits, the best first. Raises ToolError."""
        ...

    async def fetch(self, url: str) -> Document:
        """The document at `url`. Raises ToolError; a page that leads to another host is not read there."""
        ...
