"""Addresses of remote models, used in place of a model's name: `http://host:port/v1#name`. Cheap to import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from os import environ
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gptoss_tui.errors import UsageError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

KEY_VARIABLE = "GPTOSS_TUI_REMOTE_API_KEY"
"""The server's API key. There is no setting or flag for it, because those are stored in files and shown to others."""

BACKEND = "remote"
_SCHEMES = ("http://", "https://")
_API = re.compile(r"/v1(/(chat/completions|completions|models|responses))?/*\Z")
"""What may follow a server's root in addresses that people copy."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server and one of its models; an empty name means its only model.

    `root` is the base address without the `/v1` of OpenAI's API: `http://127.0.0.1:8000`.
    """

    root: str
    model: str = ""

    @property
    def host(self) -> str:
        """Host and port, for display."""
        return urlsplit(self.root).netloc

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        name = urlsplit(self.root).hostname or ""
        numeric = _numeric(name)
        return name == "localhost" or name.endswith(".localhost") or (numeric is not None and numeric.is_loopback)


def _numeric(name: str) -> IPv4Address | IPv6Address | None:
    """Parse a host as an IP address, also in short form (`127.1`); None for a name."""
    from ipaddress import ip_address
    from socket import inet_aton

    try:
        found = ip_address(name if ":" in name else inet_aton(name))
    except (OSError, ValueError):
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _host(name: str) -> str:
    """Normalize a host: no trailing dot, addresses in full.

    `0.0.0.0`, which servers print as their address, becomes this machine's.
    """
    name = name.rstrip(".")
    numeric = _numeric(name)
    if numeric is None:
        return name
    if numeric.is_unspecified:
        return "127.0.0.1" if numeric.version == 4 else "[::1]"
    return str(numeric) if numeric.version == 4 else f"[{numeric}]"


def is_address(model: str) -> bool:
    """Whether a model's name is the address of a server."""
    return model.strip().lower().startswith(_SCHEMES)


def remote_name(model: str) -> str:
    """The model's name in a server's address; empty if it has none or `model` is not an address."""
    return unquote(model.strip().partition("#")[2]) if is_address(model) else ""


def parse_address(text: str) -> Address:
    """Parse `http://host:port/v1#name`. Raises UsageError, whose message never repeats a password."""
    text = text.strip()
    # Checked before anything is parsed, because error messages about invalid addresses quote the text.
    if "@" in re.split("[/?#]", text.partition("//")[2])[0]:
        raise UsageError(
            "The address of a server must not contain a user name or password", hint=f"put a key into {KEY_VARIABLE}"
        )
    where = text.partition("#")[0]
    wrong = UsageError(
        f"{where.partition('?')[0]!r} is not the address of a server",
        hint=f"write http://HOST:PORT/v1 or .../v1#MODEL, and put a key into {KEY_VARIABLE}",
    )
    try:
        parts = urlsplit(text)
        usable = is_address(text) and bool((parts.hostname or "").strip(".")) and parts.port != 0
    except ValueError:
        raise wrong from None
    # `urlsplit` silently removes line ends.
    if not usable or parts.query or " " in where or not where.isprintable():
        raise wrong
    port = "" if parts.port is None else f":{parts.port}"
    path = _API.sub("", parts.path).rstrip("/")
    return Address(f"{parts.scheme.lower()}://{_host(parts.hostname or '')}{port}{path}", unquote(parts.fragment))


@lru_cache(maxsize=1)
def take_key() -> str:
    """The API key. The first call removes it from the environment, so that programs started later do not get it."""
    return environ.pop(KEY_VARIABLE, "").strip()
