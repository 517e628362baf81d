"""Two tools for the resources of a server, offered only when it has some: which there are, and what is in one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import Effect, ToolResult
from gptoss_tui.tools.mcp.connection import Connection
from gptoss_tui.tools.mcp.content import resource_text
from gptoss_tui.tools.mcp.listing import distinct

METHOD: Final = "resources/read"
"""What a rule about reading resources names in place of a tool, as the protocol does."""

_LIST: Final = "List the resources of this server: addresses of data that can be read."
_READ: Final = "Read a resource of this server by its address."
_URI: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"uri": {"type": "string", "description": "the address, with every part in braces filled in"}},
    "required": ["uri"],
}


def resource_tools(connection: Connection, namespace: str) -> tuple[ListResources | ReadResource, ...]:
    """The two tools; none for a server without resources."""
    if not connection.listing.resources:
        return ()
    taken = [offered.declaration.name for offered in connection.listing.tools]
    return (
        ListResources(connection, namespace, _declaration("list_resources", _LIST, None, taken)),
        ReadResource(connection, namespace, _declaration("read_resource", _READ, _URI, taken)),
    )


def _declaration(
    name: str, description: str, parameters: Mapping[str, Any] | None, taken: Iterable[str]
) -> FunctionDeclaration:
    return FunctionDeclaration(distinct(name, taken), description, parameters)


@dataclass(frozen=True, slots=True)
class ListResources:
    """What the server told when it was connected: nothing is sent to it, and nothing asked."""

    connection: Connection
    namespace: str
    declaration: FunctionDeclaration

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.declaration.name}"

    async def prepare(self, arguments: str) -> ListCall:
        """Any arguments will do: there are none."""
        return ListCall(self)


@dataclass(frozen=True, slots=True)
class ListCall:
    """Tells what is known."""

    tool: ListResources

    @property
    def summary(self) -> str:
        return self.tool.name

    @property
    def effect(self) -> None:
        """None: it only reads."""

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """One line each."""
        offers = self.tool.connection.listing.resources
        lines = [
            f"{offer.name}{' (fill in the braces)' if offer.pattern else ''}: {offer.description}" for offer in offers
        ]
        return ToolResult("\n".join(lines), source=f"MCP server {self.tool.connection.config.name}")


@dataclass(frozen=True, slots=True)
class ReadResource:
    """Reads one resource; the server decides what that does, so it is asked about as a call of a tool is."""

    connection: Connection
    namespace: str
    declaration: FunctionDeclaration

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.declaration.name}"

    async def prepare(self, arguments: str) -> ReadCall:
        """Raises ToolError without an address."""
        uri = parse_arguments(arguments, self.declaration)["uri"]
        if not uri.strip():
            raise ToolError(f"{self.name}: uri is empty.")
        return ReadCall(self, uri.strip())


@dataclass(frozen=True, slots=True)
class ReadCall:
    """A resource that is to be read."""

    tool: ReadResource
    uri: str

    @property
    def summary(self) -> str:
        return f"{self.tool.name} {self.uri}"

    @property
    def effect(self) -> Effect:
        """Shows the whole address: it may carry what the model knows."""
        server = self.tool.connection.config.name
        return Effect(
            kind="mcp",
            title=f"Read a resource of {server}",
            preview=self.uri,
            preview_type="text",
            digest=hashlib.sha256(json.dumps([server, METHOD, self.uri]).encode()).hexdigest(),
            reach="host",
            mcp=(server, METHOD),
            details=(("server", server),),
        )

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Raises ToolError."""
        connection = self.tool.connection
        result = await connection.read(self.uri)
        return ToolResult(resource_text(result), source=f"MCP server {connection.config.name}")
