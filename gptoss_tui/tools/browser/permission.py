"""What a person is asked before an address of the web is read.

Every address is an effect; rules about hosts may answer for a person. None may when the address could carry away what
the model knows: when much of it is the model's own words, found on no page that it was shown.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Iterable

from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.net.urls import WebUrl

FREE_BYTES = 64
"""So much of an address may be the model's own words..."""

FREE_BYTES_TOTAL = 256
"""...and so much of all addresses of a domain together, before a person is asked about one: a rule may hold for all of
its hosts and ports, and whoever has the domain hears each of them."""

_MAX_KNOWN = 50_000
_MAX_PER_PAGE = 5_000


class Ledger:
    """The addresses of one conversation: those on pages that the model was shown, and those that were read."""

    def __init__(self) -> None:
        self._known: list[str] = []
        self._read: set[str] = set()
        self._spent: dict[str, int] = {}

    def learn(self, urls: Iterable[str]) -> None:
        """Pages with these addresses were shown: to follow one of them carries nothing away."""
        new = [url for url in itertools.islice(urls, _MAX_PER_PAGE) if not self._knows(url)]
        if len(self._known) + len(new) <= _MAX_KNOWN:
            self._known = sorted({*self._known, *new})

    def effect(self, url: WebUrl) -> Effect:
        """What a person, or a rule, has to allow before `url` is asked for."""
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
        """`url` was allowed and is about to be asked for: what the model wrote of it is counted."""
        asked = bool(self.effect(url).must_ask)
        self._spent[_domain(url)] = 0 if asked else self._spent.get(_domain(url), 0) + self._written(url)
        self._read.add(url.origin)
        self.learn((url.text,))

    def arrived(self, url: WebUrl) -> None:
        """A redirect led to `url`."""
        self._read.add(url.origin)
        self.learn((url.text,))

    def clear(self) -> None:
        """A new conversation begins."""
        self._known.clear()
        self._read.clear()
        self._spent.clear()

    def _knows(self, url: str) -> bool:
        at = bisect.bisect_left(self._known, url)
        return self._known[at : at + 1] == [url]

    def _written(self, url: WebUrl) -> int:
        """The bytes of `url` that neither a page nor a host that was read before gave: perhaps the model's own."""
        at = bisect.bisect_left(self._known, url.text)
        common = max((_common(url.text, other) for other in self._known[max(0, at - 1) : at + 1]), default=0)
        begin = len(url.origin) + 1
        if url.origin in self._read:
            return len(url.text) - max(common, begin)
        if common >= begin:
            return len(url.text) - common
        # Names in front of a domain are free to choose, and can carry as much as a path.
        return len(url.host) - len(_domain(url)) + len(url.text) - begin


def same_site(one: WebUrl, other: WebUrl) -> bool:
    """Whether two addresses are one host's, in either scheme and with or without `www.`: no new host to allow."""
    return one.host.removeprefix("www.") == other.host.removeprefix("www.")


def _domain(url: WebUrl) -> str:
    """The end of the host that is not free to choose, as far as its dots tell; of an address all of it."""
    address = ":" in url.host or url.host.rpartition(".")[2].isdecimal()
    return url.host if address else ".".join(url.host.split(".")[-2:])


def _common(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
