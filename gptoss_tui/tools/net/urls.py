"""Web URLs in the one spelling in which they are shown and sent. URLs that can be read in two ways are refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Set
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from gptoss_tui.tools.net.addresses import why_not_public
from gptoss_tui.tools.net.errors import RefusedUrlError

MAX_URL = 4096
DEFAULT_PORTS = {"http": 80, "https": 443}
WEB_PORTS: frozenset[int] = frozenset({80, 443, 8000, 8008, 8080, 8443, 8888})
"""Ports of web servers; others belong to mail, databases and the like."""

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ud800-\udfff\\]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|\d+)\Z")
_KEPT_IN_PATH = "/%:=&~+!$,;'@()*"
_KEPT_IN_QUERY = _KEPT_IN_PATH + "?[]|"

_INNER_SUFFIXES = frozenset(
    {"localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "onion", "arpa"}
)
"""Domain suffixes that only have a meaning inside a network."""


@dataclass(frozen=True, slots=True)
class WebUrl:
    """A URL that may be requested. `text` is its canonical spelling: ASCII, no user name, no fragment."""

    text: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme, host and port, without the default port."""
        return _origin(self.scheme, self.host, self.port)


def parse_web_url(text: str, *, base: str = "", ports: Set[int] | None = WEB_PORTS) -> WebUrl:
    """Parse the URL in `text`, relative to `base` if given. `ports` None allows all ports. Raises RefusedUrlError.

    Only the text is checked here; the addresses of a name are checked when a connection is made.
    """
    given = text.strip()
    if len(given) > MAX_URL:
        raise RefusedUrlError(f"The URL is longer than {MAX_URL} characters.")
    if found := _UNSAFE.search(given):
        raise _refused(given, f"it has the character U+{ord(found[0]):04X} in it")
    try:
        parts = urlsplit(urljoin(base, given) if base else given)
        port = parts.port
    except ValueError:
        raise _refused(given, "it is not a URL") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise _refused(given, "only http and https are read")
    if "@" in parts.netloc:
        raise _refused(given, "it has a user name in it")
    host = _host(parts.netloc, given)
    port = DEFAULT_PORTS[scheme] if port is None else port
    if ports is not None and port not in ports:
        raise _refused(given, f"port {port} is not one of the web's")
    path = quote(parts.path or "/", safe=_KEPT_IN_PATH)
    query = f"?{quote(parts.query, safe=_KEPT_IN_QUERY)}" if parts.query else ""
    return WebUrl(f"{_origin(scheme, host, port)}{path}{query}", scheme, host, port)


def _origin(scheme: str, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == DEFAULT_PORTS[scheme] else f"{scheme}://{shown}:{port}"


def _host(netloc: str, url: str) -> str:
    """The host in its canonical spelling. Raises RefusedUrlError."""
    if netloc.startswith("["):
        return _literal(netloc[1:].partition("]")[0], url)
    name = _ascii(netloc.partition(":")[0], url).lower()
    name = name.removesuffix(".")
    labels = name.split(".")
    if not name or len(name) > 253 or not all(map(_LABEL.match, labels)):
        raise _refused(url, "it names no host")
    if _NUMBER.match(labels[-1]):
        # A host that ends in a number is an address; 0x7f.1, 017700000001 and 2130706433 all mean 127.0.0.1.
        return _literal(name, url)
    if len(labels) == 1 or labels[-1] in _INNER_SUFFIXES:
        raise _refused(url, f"{name} is a name inside of a network")
    return name


def _literal(address: str, url: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise _refused(url, "its address has an unusual spelling") from None
    if why := why_not_public(address):
        raise _refused(url, f"{parsed} is not public: {why}")
    return str(parsed)


def _ascii(name: str, url: str) -> str:
    if name.isascii():
        return name
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise _refused(url, "it names no host") from None


def _refused(url: str, why: str) -> RefusedUrlError:
    shown = url if len(url) <= 200 else f"{url[:200]}…"
    return RefusedUrlError(f"Error fetching URL `{shown}`: {why}.")
