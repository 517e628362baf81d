"""Links in the text of a page: `【3†label】`, or `【3†label†host】` for a link to another host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

MARK = re.compile(r"【(\d+)†([^†】]*)(?:†[^†】]*)?】")

_OUR_SIGNS = str.maketrans({"【": "〖", "】": "〗", "◼": "◾", "\u200b": None})
_SKIPPED_SCHEMES = ("mailto", "javascript", "data", "tel")
_MAX_HREF = 4096


def plain(text: str) -> str:
    """Replace the characters of our own marks in a document's text, so that no document can forge a mark."""
    return text.translate(_OUR_SIGNS)


def host(url: str) -> str:
    """The host of a URL; empty when it has none."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def mark(number: int, label: str, url: str, page_url: str) -> str:
    """The mark of link `number` on the page at `page_url`."""
    label = " ".join(label.replace("†", "‡").split())
    there = host(url)
    if there == host(page_url):
        return f"【{number}†{label}】"
    return f"【{number}†{label}†{plain(there).replace('†', '‡')}】"


class LinkCollector:
    """Numbers the links of one document, each URL once."""

    def __init__(self, page_url: str) -> None:
        self._page_url = page_url
        self._numbers: dict[str, int] = {}

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs, indexed by link number."""
        return tuple(self._numbers)

    def add(self, href: str, label: str) -> str:
        """Return the mark of a link, or its label if it leads to no document. `label` must already be `plain`."""
        url = self._absolute(href.strip())
        if url is None or len(url) > _MAX_HREF or not label.strip():
            return label
        number = self._numbers.setdefault(url, len(self._numbers))
        return mark(number, label, url, self._page_url)

    def _absolute(self, href: str) -> str | None:
        try:
            parts = urlsplit(href)
            if not href or href.startswith("#") or parts.scheme.lower() in _SKIPPED_SCHEMES:
                return None
            if parts.scheme:
                return href
            # urljoin does not handle unregistered schemes.
            scheme, _, rest = self._page_url.partition(":")
            joined = urljoin(f"http:{rest}", href)
        except ValueError:
            return None
        return f"{scheme}:{joined.partition(':')[2]}"


def label_of(text: str) -> tuple[str, Sequence[tuple[int, int]]]:
    """Replace marks by their labels. Also returns the origin of each piece: (start in the result, start in `text`)."""
    pieces: list[str] = []
    starts: list[tuple[int, int]] = [(0, 0)]
    length = at = 0
    for found in MARK.finditer(text):
        for start, end in ((at, found.start()), found.span(2)):
            pieces.append(text[start:end])
            starts.append((length, start))
            length += end - start
        at = found.end()
        starts.append((length, at))
    pieces.append(text[at:])
    return "".join(pieces), starts
