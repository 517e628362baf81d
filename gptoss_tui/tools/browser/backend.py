"""Where pages come from: the one interface of the browser's backends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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
    def description(self) -> str:
        """One line for people: what is searched."""
        ...

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """At most `topn` hits, the best first. Raises ToolError."""
        ...

    async def fetch(self, url: str) -> Document:
        """The document at `url`. Raises ToolError."""
        ...
