"""Where a remote model is: `http://host:port/v1#name`, given where a model's name goes. Cheap to import."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from os import environ
from urllib.parse import unquote, urlsplit

from gptoss_tui.errors import UsageError

KEY_VARIABLE = "GPTOSS_TUI_REMOTE_API_KEY"
"""The server's API key. There is no setting and no flag for it: those are written down, and shown to others."""

BACKEND = "remote"
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and which of its models; an empty name means the only one that it has.

    `root` is where the server begins, without the `/v1` of OpenAI's API: `http://127.0.0.1:8000`.
    """

    root: str
    model: str = ""

    @property
    def host(self) -> str:
        """Host and port, as people know the server."""
        return urlsplit(self.root).netloc

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        from ipaddress import ip_address

        name = urlsplit(self.root).hostname or ""
        try:
            return name == "localhost" or ip_address(name).is_loopback
        except ValueError:
            return False


def is_address(model: str) -> bool:
    """Whether what stands for a model is a server's address."""
    return model.lower().startswith(_SCHEMES)


def remote_name(model: str) -> str:
    """The name of the model behind a server's address; empty where it says none, or `model` is no address."""
    return unquote(model.partition("#")[2]) if is_address(model) else ""


def parse_address(text: str) -> Address:
    """The address in `http://host:port/v1#name`. Raises UsageError; what it says never repeats a password."""
    # Before anything is taken apart: what cannot be is said with the text in it.
    if "@" in text.partition("//")[2].partition("/")[0]:
        raise UsageError(
            "The address of a server must not have a name and a password in it", hint=f"put a key into {KEY_VARIABLE}"
        )
    wrong = UsageError(f"{text!r} is no address of a server", hint="write http://HOST:PORT/v1 or .../v1#MODEL")
    try:
        parts = urlsplit(text)
        usable = is_address(text) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise wrong from None
    if not usable or parts.query:
        raise wrong
    path = parts.path.rstrip("/").removesuffix("/v1")
    return Address(f"{parts.scheme.lower()}://{parts.netloc}{path}", unquote(parts.fragment))


@lru_cache(maxsize=1)
def take_key() -> str:
    """The key for servers. It is taken out of the environment: programs that are started later need not know it."""
    return environ.pop(KEY_VARIABLE, "").strip()
