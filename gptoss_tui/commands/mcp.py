"""`gptoss-tui mcp`: lists and changes the configured MCP servers; `mcp serve` runs as a server itself."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from gptoss_tui.commands.approve import add_approve_flag
from gptoss_tui.commands.flags import add_chat_flags, settings_from
from gptoss_tui.commands.mcp_edit import add_editing
from gptoss_tui.commands.protocol import open_stdio, run_protocol
from gptoss_tui.errors import UsageError
from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.mcp_server.catalog import Group
    from gptoss_tui.mcp_server.server import Sessions
    from gptoss_tui.settings import Settings
    from gptoss_tui.tools.mcp.config import ServerConfig
    from gptoss_tui.tools.mcp.tools import McpServer

_GROUPS: Final = ("browser", "python", "apply_patch", "ask")
_PORT: Final = 8765
_LISTING: Final = (
    "Start the configured MCP servers and list their tools, resources and prompts. The exit code is 1 if one of them "
    "does not answer."
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "mcp",
        help="list, add or remove MCP servers, or run as one",
        description=_LISTING,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(title="commands", metavar="[COMMAND]", help="without one: list")
    listing = commands.add_parser(
        "list", help="list the servers and what they offer", description=_LISTING, allow_abbrev=False
    )
    listing.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
    listing.set_defaults(run=run)
    add_editing(commands)
    _add_serve(commands)
    _add_login(commands)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "serve",
        help="run as an MCP server: browser, python, apply_patch, and the agent",
        description="Offer tools to other programs over the Model Context Protocol, on stdin and stdout. The model is "
        "loaded on the first `ask`. See docs/mcp.md.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--tools",
        metavar="LIST",
        default=",".join(_GROUPS),
        help=f"tools to offer, from {', '.join(_GROUPS)} (default: all)",
    )
    add_approve_flag(parser)
    parser.add_argument(
        "--http", action="store_true", help="serve streamable HTTP on 127.0.0.1 instead, protected by a token"
    )
    parser.add_argument(
        "--port", type=int, default=_PORT, metavar="N", help=f"port for --http, 0 for a free one (default: {_PORT})"
    )
    add_chat_flags(parser)
    parser.set_defaults(run=run_server)


def _add_login(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    login = commands.add_parser(
        "login",
        help="log in to a server with OAuth",
        description="Log in to an MCP server with your browser. The token is kept in your state folder, readable "
        "only by you, sent only to that server, and refreshed when it expires.",
        allow_abbrev=False,
    )
    login.add_argument("name", metavar="NAME", help="a server in mcp.json")
    login.add_argument(
        "--no-browser", action="store_true", help="only print the address to open in a browser on this machine"
    )
    login.set_defaults(run=run_login)
    logout = commands.add_parser(
        "logout", help="log out of a server", description="Delete the token of an MCP server.", allow_abbrev=False
    )
    logout.add_argument("name", metavar="NAME", help="a server in mcp.json")
    logout.set_defaults(run=run_logout)


def run(args: argparse.Namespace) -> int:
    """Print the servers and what they offer. Returns 1 when a server does not answer."""
    import asyncio

    from gptoss_tui.tools.mcp.config import load_servers, servers_path
    from gptoss_tui.tools.mcp.tools import mcp_servers

    servers = mcp_servers(load_servers())
    described = asyncio.run(_ask(servers))
    if args.json:
        print(json.dumps({"servers": described}, indent=2))
    elif not described:
        print(f"no MCP servers are configured; add one with `gptoss-tui mcp add`, or in {servers_path()}")
    for server in described if not args.json else ():
        for line in _lines(server):
            print(to_terminal_line(line))
    return 0 if all(server["state"] == "ready" for server in described) else 1


async def _ask(servers: Sequence[McpServer]) -> list[dict[str, Any]]:
    """Ask all servers at the same time what they offer, and close them afterwards."""
    import asyncio

    from gptoss_tui.tools.mcp.connection import CONNECT_SECONDS

    try:
        await asyncio.gather(*(server.ready(CONNECT_SECONDS + 1) for server in servers))
        return [_describe(server) for server in servers]
    finally:
        await asyncio.gather(*(server.connection.close() for server in servers))


def _describe(server: McpServer) -> dict[str, Any]:
    connection = server.connection
    listing = connection.listing
    return {
        "name": connection.config.name,
        "namespace": server.namespace.name,
        "state": connection.state,
        "problem": connection.problem,
        "tools": [{"name": one.declaration.name, "description": one.declaration.description} for one in listing.tools],
        "resources": [{"name": one.name, "description": one.description} for one in listing.resources],
        "prompts": [{"name": one.name, "description": one.description} for one in listing.prompts],
    }


def _lines(server: dict[str, Any]) -> Iterator[str]:
    counts = ", ".join(f"{len(server[kind])} {kind}" for kind in ("tools", "resources", "prompts"))
    yield f"{server['name']}  {server['state']}  {server['problem'] or counts}"
    for kind in ("tools", "resources", "prompts"):
        for one in server[kind]:
            name = f"{server['namespace']}.{one['name']}" if kind == "tools" else one["name"]
            first = (one["description"].strip() or " ").splitlines()[0]
            yield f"  {kind.removesuffix('s'):<9} {name:<32} {first[:100]}".rstrip()


def _server_named(name: str) -> ServerConfig:
    """The configured server with that name, which must have an address. Raises UsageError."""
    from gptoss_tui.tools.mcp.config import load_servers, servers_path

    known = {server.name: server for server in load_servers() if server.url}
    if name not in known:
        names = ", ".join(known) or "none of an address"
        raise UsageError(f"There is no MCP server {name!r} to log in to", hint=f"{servers_path()} has {names}")
    return known[name]


def run_login(args: argparse.Namespace) -> int:
    """Log in to a server with the user's browser."""
    import asyncio
    import webbrowser

    from gptoss_tui.tools.mcp.login import log_in

    def open_page(address: str) -> None:
        print(f"log in at {to_terminal_line(address)}", file=sys.stderr, flush=True)
        if not args.no_browser:
            webbrowser.open(address)

    count = asyncio.run(log_in(_server_named(args.name), open_page))
    print(f"logged in to {to_terminal_line(args.name)}: {count} tools")
    return 0


def run_logout(args: argparse.Namespace) -> int:
    """Delete the token of a server."""
    from gptoss_tui.tools.mcp.tokens import Tokens

    had = Tokens(_server_named(args.name).url).forget()
    print(f"logged out of {to_terminal_line(args.name)}" if had else "there was no login")
    return 0


def run_server(args: argparse.Namespace) -> int:
    """Run as an MCP server until the host disconnects or a signal arrives. Raises UsageError."""
    settings = settings_from(args)
    groups = _groups(args.tools)
    if not args.http and sys.stdin.isatty():
        raise UsageError("`gptoss-tui mcp serve` has to be started by another program", hint="or use --http")
    return run_protocol(_serve(settings, groups, args.approve, args.port if args.http else None))


def _groups(text: str) -> tuple[Group, ...]:
    """The groups of tools in a comma-separated list, in the order of `GROUPS`. Raises UsageError."""
    from gptoss_tui.mcp_server.catalog import GROUPS

    named = [name.strip() for name in text.split(",")]
    if unknown := [name for name in named if name not in GROUPS]:
        raise UsageError(f"--tools: there is no {unknown[0]!r}", hint=f"there are {', '.join(GROUPS)}")
    return tuple(group for group in GROUPS if group in named)


async def _serve(settings: Settings, groups: tuple[Group, ...], approve: str, port: int | None) -> None:
    # This comes before all other imports, since they might print: stdout is reserved for the protocol.
    streams = await open_stdio() if port is None else None
    from gptoss_tui.agent.engines import open_engine
    from gptoss_tui.engine.shared import SharedEngine
    from gptoss_tui.mcp_server.server import Sessions, serve_stdio
    from gptoss_tui.mcp_server.session import HostSession

    engine = SharedEngine(open_engine)
    sessions = Sessions(lambda: HostSession(settings, engine, approve))
    HostSession(settings, engine, approve)  # find mistakes in the settings before a host connects
    try:
        if streams is not None:
            await serve_stdio(sessions, groups, *streams)
        elif port is not None:
            await _serve_http(sessions, groups, port)
    finally:
        await engine.close()


async def _serve_http(sessions: Sessions, groups: tuple[Group, ...], port: int) -> None:
    from gptoss_tui.mcp_server.http import TOKEN_VARIABLE, load_token, serve_http

    token, file = load_token()

    def listening(address: str) -> None:
        where = f"is in {file}" if file else f"is that of {TOKEN_VARIABLE}"
        print(to_terminal_line(f"MCP server at {address}; the token {where}"), file=sys.stderr, flush=True)

    await serve_http(sessions, groups, port, token, listening)
