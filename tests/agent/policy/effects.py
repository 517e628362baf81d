"""Effects of every kind, as tools plan them."""

from __future__ import annotations

from typing import Any

from gptoss_tui.tools.base import Effect, EffectKind, Reach
from gptoss_tui.tools.expansion import Words


def edit(*paths: str, **more: Any) -> Effect:
    return make("edit", "workspace", paths=paths or ("src/a.py",), **more)


def command(*commands: Words, reach: Reach = "sandbox", **more: Any) -> Effect:
    return make("command", reach, commands=commands, **more)


def python(**more: Any) -> Effect:
    return make("python", "sandbox", **more)


def url(*hosts: str, **more: Any) -> Effect:
    return make("url", "network", hosts=hosts or ("example.org",), **more)


def mcp(server: str = "tracker", tool: str = "create", **more: Any) -> Effect:
    return make("mcp", "host", mcp=(server, tool), **more)


def make(kind: EffectKind, reach: Reach, **more: Any) -> Effect:
    return Effect(kind, "title", "preview", "text", "digest", reach=reach, **more)
