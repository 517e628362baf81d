"""Checks who may use the server: the request's Host, the page that it comes from, and its API key.

Every page in the user's browser can reach a server on loopback. Such a request can be recognized: it has an Origin, or
it names a host that is not ours (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from multidict import CIMultiDictProxy

from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.service import Access

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_ROUTES = frozenset({"/health"})
"""These need no key: they only tell whether the server is available."""

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_OTHER_SITES = ("cross-site", "same-site")


@dataclass(frozen=True, slots=True)
class Rules:
    """`hosts` are names in lower case that requests may have as their Host; with `any_address` IP addresses as well.

    `origins` are those of pages that may send requests. Without `keys`, no key is required.
    """

    hosts: frozenset[str] = LOOPBACK_HOSTS
    any_address: bool = False
    origins: frozenset[str] = frozenset()
    keys: tuple[bytes, ...] = ()


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def rules_for(host: str, names: Iterable[str], origins: Iterable[str], keys: Collection[str]) -> Rules:
    """The rules for a server that is bound to `host`."""
    own = _spelled(host)
    return Rules(
        frozenset({*LOOPBACK_HOSTS, own, *(_spelled(name) for name in names)}),
        any_address=not is_loopback(host),
        origins=frozenset(origin.rstrip("/").lower() for origin in origins),
        keys=tuple(key.encode() for key in keys),
    )


def check(rules: Rules, path: str, headers: CIMultiDictProxy[str], address: str) -> Access:
    """Identify the client. Raises ApiError 403 for a forbidden host or page, 401 for a missing or wrong key."""
    _check_host(rules, headers.getall("Host", []))
    _check_origin(rules, headers)
    if not rules.keys or path in OPEN_ROUTES:
        return Access(address=address)
    key = _given_key(headers).encode(errors="replace")
    # All keys are compared, each in constant time, so that timing reveals nothing.
    matching = [hmac.compare_digest(key, known) for known in rules.keys]
    if not any(matching):
        message = (
            "Incorrect API key provided." if key else "You didn't provide an API key: 'Authorization: Bearer KEY'."
        )
        raise ApiError(401, message, code="invalid_api_key")
    return Access(hashlib.sha256(key).hexdigest()[:16], address)


def _check_host(rules: Rules, hosts: list[str]) -> None:
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if found is None or not _is_port(found["port"]):
        raise _forbidden("The request must name one valid Host.")
    name = found["name"].lower()
    if name not in rules.hosts and not (rules.any_address and _is_address(name)):
        raise _forbidden("This Host is not allowed; `--allow-host` names others.")


def _check_origin(rules: Rules, headers: Mapping[str, str]) -> None:
    origin = headers.get("Origin")
    if origin is None:
        if headers.get("Sec-Fetch-Site", "none").lower() in _OTHER_SITES and not rules.origins:
            raise _forbidden("Pages of other sites may not use this server.")
        return
    if origin.lower() not in rules.origins:
        raise _forbidden("Pages of this Origin may not use this server; `--allow-origin` allows them.")


def _given_key(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return headers.get("X-Api-Key", "") or headers.get("Api-Key", "")


def _is_port(text: str | None) -> bool:
    return text is None or 0 < int(text) < 65536


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _spelled(host: str) -> str:
    """A host as it appears in requests: in lower case, IPv6 addresses in brackets."""
    return f"[{host.lower()}]" if ":" in host and not host.startswith("[") else host.lower()


def _forbidden(message: str) -> ApiError:
    return ApiError(403, message, code="forbidden")
