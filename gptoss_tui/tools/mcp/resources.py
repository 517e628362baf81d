"""Two tools for a server's resources, offered only if it has any: one lists them, the other reads one."""

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
"""The name that stands for a tool in rules about reading resources; the protocol calls the method so."""

_LIST: Final = "List the resources of this server: addresses of data that can be read."
_READ: Final = "Read a resource of this server by its address."
_URI: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"uri": {"type": "string", "description": "the address, with every part in braces filled in"}},
    "required": ["uri"],
}


def resource_tools(connection: Connection, namespace: str) -> tuple[ListResources | ReadResource, ...]:
    """Return the two tools, or none for a server without resources."""
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
    """Lists what the server offered when it was connected. Nothing is sent to it, so no approval is needed."""

    connection: Connection
    namespace: str
    declaration: FunctionDeclaration

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.declaration.name}"

    async def prepare(self, arguments: str) -> ListCall:
        """Accept any arguments, because the tool has none."""
        return ListCall(self)


@dataclass(frozen=True, slots=True)
class ListCall:
    """Lists the known resources."""

    tool: ListResources

    @property
    def summary(self) -> str:
        return self.tool.name

    @property
    def effect(self) -> None:
        """None, because it only lists what is already known."""

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Return one line for each resource."""
        offers = self.tool.connection.listing.resources
        lines = [
            f"{offer.name}{' (fill in the braces)' if offer.pattern else ''}: {offer.description}" for offer in offers
        ]
        return ToolResult("\n".join(lines), source=f"MCP server {self.tool.connection.config.name}")


@dataclass(frozen=True, slots=True)
class ReadResource:
    """Reads one resource. The server decides what that does, so it needs approval like a tool call."""

    connection: Connection
    namespace: str
    declaration: FunctionDeclaration

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.declaration.name}"

    async def prepare(self, arguments: str) -> ReadCall:
        """Parse a call. Raises ToolError when there is no URI."""
        uri = parse_arguments(arguments, self.declaration)["uri"]
        if not uri.strip():
            raise ToolError(f"{self.name}: uri is empty.")
        return ReadCall(self, uri.strip())


@dataclass(frozen=True, slots=True)
class ReadCall:
    """A call that reads the resource at `uri`."""

    tool: ReadResource
    uri: str

    @property
    def summary(self) -> str:
        return f"{self.tool.name} {self.uri}"

    @property
    def effect(self) -> Effect:
        """The effect, which shows the whole URI because it may leak what the model knows."""
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
