"""Reads the servers from `mcp.json` beside the settings file, in the format that other programs use too."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptoss_tui.errors import UsageError
from gptoss_tui.settings import config_path

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_KNOWN = {"command", "args", "env", "cwd", "url", "headers", "type", "transport", "disabled", "timeout"}
_HTTP = ("http", "streamable-http", "streamable_http", "streamableHttp")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server: a program to start (`command`), or an address (`url`). Its values may be secrets.

    `seconds` is the time limit of a call.
    """

    name: str
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 120.0


def servers_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the servers file, whether it exists or not."""
    return config_path(environ).with_name("mcp.json")


def load_servers(environ: Mapping[str, str] = os.environ) -> tuple[ServerConfig, ...]:
    """Return the servers that are not disabled. `${NAME}` and `${NAME:-default}` refer to environment variables.

    Raises UsageError that names the file and the server. No message contains a secret value.
    """
    path = servers_path(environ)
    servers = (read_document(path) or {"mcpServers": {}})["mcpServers"]
    return tuple(
        _server(name, entry, f"{path}: {name}", environ)
        for name, entry in servers.items()
        if not (isinstance(entry, dict) and entry.get("disabled") is True)
    )


def check_server(name: str, entry: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Raise the UsageError that `load_servers` would raise for this server."""
    _server(name, entry, name, environ)


def read_document(path: Path) -> dict[str, Any] | None:
    """The content of a servers file, with an object `mcpServers`; None if there is no file. Raises UsageError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("mcpServers"), dict):
        raise UsageError(
            f"{path}: there is no `mcpServers` object", hint='{"mcpServers": {"name": {"command": "..."}}}'
        )
    return document


def _server(name: str, entry: Any, where: str, environ: Mapping[str, str]) -> ServerConfig:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is not an object")
    if unknown := sorted(set(entry) - _KNOWN):
        raise UsageError(f"{where}: unknown key {unknown[0]}", hint=f"known keys: {', '.join(sorted(_KNOWN))}")
    kind = entry.get("type", entry.get("transport"))
    if kind not in (None, "stdio", *_HTTP):
        raise UsageError(f"{where}: the transport {kind!r} is not supported", hint="use stdio or streamable HTTP")
    command, url = _text(entry, "command", where, environ), _text(entry, "url", where, environ)
    if bool(command) == bool(url) or (kind == "stdio" and url) or (kind in _HTTP and command):
        raise UsageError(f"{where} needs either a command or a url")
    if url and not url.startswith(("http://", "https://")):
        raise UsageError(f"{where}: url is not an http or https address")
    args = entry.get("args", [])
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise UsageError(f"{where}: args is not a list of strings")
    seconds = entry.get("timeout", 120.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise UsageError(f"{where}: timeout is not a number of seconds")
    return ServerConfig(
        name=name,
        command=command,
        args=tuple(_expanded(arg, where, environ) for arg in args),
        env=_texts(entry, "env", where, environ),
        cwd=_text(entry, "cwd", where, environ) or None,
        url=url,
        headers=_texts(entry, "headers", where, environ),
        seconds=float(seconds),
    )


def _text(entry: Mapping[str, Any], key: str, where: str, environ: Mapping[str, str]) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} is not a string")
    return _expanded(value, where, environ)


def _texts(entry: Mapping[str, Any], key: str, where: str, environ: Mapping[str, str]) -> dict[str, str]:
    table = entry.get(key, {})
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise UsageError(f"{where}: {key} is not an object of strings")
    return {name: _expanded(value, where, environ) for name, value in table.items()}


def _expanded(text: str, where: str, environ: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        known = environ.get(found[1], found[2])
        if known is None:
            raise UsageError(f"{where}: the variable {found[1]} is not set")
        return known

    return _VARIABLE.sub(value, text)
