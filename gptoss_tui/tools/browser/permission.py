"""Which addresses need a person's word before they are asked for.

A host that the model reads for the first time does. So does an address that could carry away what the model knows: one
that it wrote itself, beyond a few characters, and did not find on a page. Pure, but for what it remembers of a
conversation.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable

from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.net.urls import WebUrl

FREE_BYTES = 64
"""So much of an address may be the model's own words on a host that was allowed..."""

FREE_BYTES_TOTAL = 256
"""...and so much of all addresses of a host together, before a person sees one again."""

_MAX_KNOWN = 50_000


class Ledger:
    """The addresses of one conversation: those on pages that the model was shown, and the hosts that were allowed."""

    def __init__(self) -> None:
        self._known: list[str] = []
        self._spent: dict[str, int] = {}

    def learn(self, urls: Iterable[str]) -> None:
        """Pages with these addresses were shown: to follow one of them carries nothing away."""
        for url in urls:
            at = bisect.bisect_left(self._known, url)
            if len(self._known) < _MAX_KNOWN and self._known[at : at + 1] != [url]:
                self._known.insert(at, url)

    def effect(self, url: WebUrl) -> Effect | None:
        """What a person has to allow before `url` is asked for, None when nothing."""
        written = self._written(url)
        spent = self._spent.get(url.origin)
        carries = written > FREE_BYTES or (spent or 0) + written > FREE_BYTES_TOTAL
        if spent is not None and not carries:
            return None
        why = f"{written} characters of this address are the model's own: they may carry what it has read"
        return Effect(
            kind="url",
            title=f"Open {url.host}",
            preview=url.text,
            preview_type="url",
            digest=hashlib.sha256(f"GET {url.text}".encode()).hexdigest(),
            reach="network",
            hosts=(url.host,),
            must_ask=(why,) if carries else (),
            details=() if spent is not None else (("host", "not read before in this conversation"),),
        )

    def allowed(self, url: WebUrl) -> None:
        """`url` is about to be asked for: its host counts as allowed, and what the model wrote of it is counted."""
        written = self._written(url)
        seen_by_person = url.origin not in self._spent or self.effect(url) is not None
        self._spent[url.origin] = 0 if seen_by_person else self._spent[url.origin] + written
        self.learn((url.text,))

    def arrived(self, url: WebUrl) -> None:
        """A redirect that was allowed led to `url`."""
        self._spent.setdefault(url.origin, 0)
        self.learn((url.text,))

    def may_follow(self, url: WebUrl) -> bool:
        """Whether a redirect to another origin needs no new word: the host is allowed, in this or the other scheme."""
        bare = url.host.removeprefix("www.")
        return any(origin.partition("://")[2].removeprefix("www.") == bare for origin in self._spent)

    def clear(self) -> None:
        """A new conversation begins."""
        self._known.clear()
        self._spent.clear()

    def _written(self, url: WebUrl) -> int:
        """The bytes of `url` that no page and no allowed host gave: they may be the model's own words."""
        at = bisect.bisect_left(self._known, url.text)
        begin = url.origin + "/"
        if url.origin not in self._spent:
            # Names in front of a domain are free to choose, and can carry as much as a path.
            begin = begin[: begin.index("://") + 3]
        near = [begin, *self._known[max(0, at - 1) : at + 1]]
        written = len(url.text) - max(_common(url.text, other) for other in near)
        domain = ".".join(url.host.split(".")[-2:])
        return max(0, written - len(domain)) if written > len(url.text) - len(url.origin) else written


def _common(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
