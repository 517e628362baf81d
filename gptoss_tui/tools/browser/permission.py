"""What the user must allow before a web address is read.

Every address is an effect, and rules about hosts may answer for the user. No rule may when the address could leak what
the model knows, because much of it is the model's own words and was on none of the pages that it was shown.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Iterable

from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.net.urls import WebUrl

FREE_BYTES = 64
"""The most bytes of an address that may be the model's own words without asking the user."""

FREE_BYTES_TOTAL = 256
"""The same for all addresses of a domain together: a rule may cover all of the domain's hosts and ports, and its owner
sees every request."""

_MAX_KNOWN = 50_000
_MAX_PER_PAGE = 5_000


class Ledger:
    """Tracks the addresses of one conversation: those on pages that the model was shown, and those that were read."""

    def __init__(self) -> None:
        self._known: list[str] = []
        self._read: set[str] = set()
        self._spent: dict[str, int] = {}

    def learn(self, urls: Iterable[str]) -> None:
        """Record addresses on a page that was shown: following one of them leaks nothing."""
        new = [url for url in itertools.islice(urls, _MAX_PER_PAGE) if not self._knows(url)]
        if len(self._known) + len(new) <= _MAX_KNOWN:
            self._known = sorted({*self._known, *new})

    def effect(self, url: WebUrl) -> Effect:
        """The effect that the user, or a rule, has to allow before `url` is requested."""
        written = self._written(url)
        spent = self._spent.get(_domain(url), 0)
        must_ask: tuple[str, ...] = ()
        if written > FREE_BYTES:
            must_ask = (f"{written} characters of the address are the model's own: they may carry what it has read",)
        elif written and spent + written > FREE_BYTES_TOTAL:
            must_ask = (
                "addresses of this domain have had many of the model's own words: they may carry what it has read",
            )
        return Effect(
            kind="url",
            title=f"Open {url.host}",
            preview=url.text,
            preview_type="url",
            digest=hashlib.sha256(f"GET {url.text}".encode()).hexdigest(),
            reach="network",
            hosts=(url.host,),
            must_ask=must_ask,
            details=(("host", "read before" if url.origin in self._read else "not read before in this conversation"),),
        )

    def allowed(self, url: WebUrl) -> None:
        """Record that `url` was allowed and is about to be requested, and count the bytes that the model wrote."""
        asked = bool(self.effect(url).must_ask)
        self._spent[_domain(url)] = 0 if asked else self._spent.get(_domain(url), 0) + self._written(url)
        self._read.add(url.origin)
        self.learn((url.text,))

    def arrived(self, url: WebUrl) -> None:
        """Record that `url` was reached, perhaps by a redirect."""
        self._read.add(url.origin)
        self.learn((url.text,))

    def clear(self) -> None:
        """Forget everything, because a new conversation begins."""
        self._known.clear()
        self._read.clear()
        self._spent.clear()

    def _knows(self, url: str) -> bool:
        at = bisect.bisect_left(self._known, url)
        return self._known[at : at + 1] == [url]

    def _written(self, url: WebUrl) -> int:
        """The number of bytes of `url` from neither a shown page nor a host read before: perhaps the model's own."""
        at = bisect.bisect_left(self._known, url.text)
        common = max((_common(url.text, other) for other in self._known[max(0, at - 1) : at + 1]), default=0)
        begin = len(url.origin) + 1
        if url.origin in self._read:
            return len(url.text) - max(common, begin)
        if common >= begin:
            return len(url.text) - common
        # Subdomains can be chosen freely and can leak as much as a path.
        return len(url.host) - len(_domain(url)) + len(url.text) - begin


def same_site(one: WebUrl, other: WebUrl) -> bool:
    """Whether two addresses have the same host, ignoring the scheme and `www.`, so that no new approval is needed."""
    return one.host.removeprefix("www.") == other.host.removeprefix("www.")


def _domain(url: WebUrl) -> str:
    """The registered domain of the host, approximated by its last two labels; an IP address as a whole."""
    address = ":" in url.host or url.host.rpartition(".")[2].isdecimal()
    return url.host if address else ".".join(url.host.split(".")[-2:])


def _common(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
