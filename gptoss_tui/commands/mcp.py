"""`gptoss-tui mcp`: the MCP servers that are set up, whether they answer, and what they offer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.tools.mcp.tools import McpServer


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "mcp",
        help="list MCP servers and what they offer",
        description="Start the MCP servers that are set up and list their tools, resources and prompts. Exits with 1 "
        "when one of them does not answer.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what there is; 1 when a server does not answer."""
    import asyncio

    from gptoss_tui.tools.mcp.config import load_servers, servers_path
    from gptoss_tui.tools.mcp.tools import mcp_servers

    servers = mcp_servers(load_servers())
    described = asyncio.run(_ask(servers))
    if args.json:
        print(json.dumps({"servers": described}, indent=2))
    elif not described:
        print(f"no MCP servers are set up; {servers_path()} would name them")
    for server in described if not args.json else ():
        for line in _lines(server):
            print(to_terminal_line(line))
    return 0 if all(server["state"] == "ready" for server in described) else 1


async def _ask(servers: Sequence[McpServer]) -> list[dict[str, Any]]:
    """What each server says, all asked at once; they are ended afterwards."""
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
