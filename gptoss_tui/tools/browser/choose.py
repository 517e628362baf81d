"""Chooses the browser's backend: the one in the settings, or the best available."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from gptoss_tui.errors import UsageError
from gptoss_tui.settings import Settings
from gptoss_tui.tools.browser.backend import Backend
from gptoss_tui.tools.browser.local import LocalDocuments, own_documentation
from gptoss_tui.tools.browser.search.duckduckgo import DuckDuckGo
from gptoss_tui.tools.browser.search.keys import VARIABLES, keys_path, load_keys
from gptoss_tui.tools.browser.search.services import ApiSearch, Brave, Exa, SearXNG, Service, Tavily, YouCom
from gptoss_tui.tools.browser.web import Web
from gptoss_tui.tools.net.fetch import NetPolicy

_KEYED: dict[str, type[Exa] | type[YouCom] | type[Brave] | type[Tavily]] = {
    "exa": Exa,
    "youcom": YouCom,
    "brave": Brave,
    "tavily": Tavily,
}


def choose_backend(settings: Settings, environ: Mapping[str, str] = os.environ) -> Backend:
    """Return the backend for `settings`. This sends no request and imports no library yet.

    `auto` means the documents folder if one is set or the model is the built-in one, which was trained with documents;
    else a service with a key, else SearXNG if its address is set, else DuckDuckGo. Raises UsageError when the named
    service lacks a key or an address.
    """
    wanted = backend_name(settings, environ)
    if wanted == "local":
        return LocalDocuments(settings.browser_folder or own_documentation())
    proxy = _address(settings.browser_proxy, "browser_proxy") if settings.browser_proxy else None
    policy = dataclasses.replace(NetPolicy(), proxy=proxy)
    if wanted == "duckduckgo":
        return Web(DuckDuckGo(proxy=proxy), policy)
    return Web(ApiSearch(_service(wanted, settings, environ), proxy=proxy), policy)


def backend_name(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """The name of the backend as in the settings: `local`, `duckduckgo`."""
    return _best(settings, environ) if settings.browser_backend == "auto" else settings.browser_backend


def _best(settings: Settings, environ: Mapping[str, str]) -> str:
    if settings.browser_folder is not None or settings.model == "nano":
        return "local"
    keys = load_keys(environ)
    with_key = next((name for name in VARIABLES if name in keys), None)
    return with_key or ("searxng" if settings.searxng_url else "duckduckgo")


def _service(wanted: str, settings: Settings, environ: Mapping[str, str]) -> Service:
    if wanted == "searxng":
        if not settings.searxng_url:
            raise UsageError("The address of your SearXNG is missing", hint="set searxng_url")
        return SearXNG(_address(settings.searxng_url, "searxng_url"))
    key = load_keys(environ).get(wanted)
    if not key:
        raise UsageError(
            f"The search service {wanted} needs a key",
            hint=f"set {VARIABLES[wanted][0]}, or write it to {keys_path(environ)}",
        )
    return _KEYED[wanted](key)


def _address(text: str, setting: str) -> str:
    """Return `text` if it is an http or https address. Raises UsageError otherwise."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise UsageError(
            f"{setting} is not an http or https address", hint=f'for example {setting} = "http://localhost:8888"'
        )
    return text
