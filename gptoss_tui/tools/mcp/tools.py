"""A server's tools as the agent sees them: a namespace of their own, with every call an effect that needs approval."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration, ToolNamespace
from gptoss_tui.tools.base import Citation, Effect, PromptOffer, Tool, ToolResult
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.mcp.connection import Connection
from gptoss_tui.tools.mcp.content import prompt_text, result_text
from gptoss_tui.tools.mcp.listing import OfferedTool, cut, namespace_name
from gptoss_tui.tools.mcp.resources import ListResources, ReadResource, resource_tools


class McpServer:
    """The tools of one server as a namespace of the system message. There are none until it is connected."""

    def __init__(self, config: ServerConfig, namespace: str) -> None:
        self.connection = Connection(config)
        self._namespace = namespace

    @property
    def namespace(self) -> ToolNamespace:
        functions = tuple(tool.declaration for tool in (*self._own, *self._resources))
        return ToolNamespace(self._namespace, f"Tools of {self._namespace}, another program of the user.", functions)

    @property
    def tools(self) -> tuple[Tool, ...]:
        return (*self._own, *self._resources)

    @property
    def _own(self) -> tuple[McpTool, ...]:
        return tuple(McpTool(self.connection, self._namespace, offered) for offered in self.connection.listing.tools)

    @property
    def _resources(self) -> tuple[ListResources | ReadResource, ...]:
        return resource_tools(self.connection, self._namespace)

    @property
    def prompts(self) -> tuple[PromptOffer, ...]:
        """The prompts that the server offers the user."""
        return tuple(
            PromptOffer(self._namespace, one.name, one.description, one.arguments, one.required)
            for one in self.connection.listing.prompts
        )

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """Return the text of a prompt, which comes from another program and is shown before sending.

        Raises ToolError.
        """
        return prompt_text(await self.connection.prompt(name, arguments))

    @property
    def source(self) -> str:
        """`MCP, 12 tools`, or why there are none."""
        connection = self.connection
        if connection.state == "failed":
            return f"MCP, not available: {connection.problem}"
        return f"MCP, {len(connection.listing.tools)} tools" if connection.listing.tools else f"MCP, {connection.state}"

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """Always empty: these tools have no pages."""
        return ()

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """Always empty: these tools have no pages."""
        return ()

    async def ready(self, seconds: float) -> None:
        """Wait until the server's tools are known, but no longer than `seconds`."""
        await self.connection.settle(seconds)

    def reset(self) -> None:
        """Stop the server. The next call, or the next conversation, starts it again."""
        self.connection.stop()


def mcp_servers(configs: Sequence[ServerConfig]) -> tuple[McpServer, ...]:
    """Return the servers of `configs`, each with a unique namespace. This starts nothing yet."""
    names: list[str] = []
    for config in configs:
        names.append(namespace_name(config.name, names))
    return tuple(McpServer(config, name) for config, name in zip(configs, names, strict=True))


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of a server."""

    connection: Connection
    namespace: str
    offered: OfferedTool

    @property
    def name(self) -> str:
        return f"{self.namespace}.{self.offered.declaration.name}"

    @property
    def declaration(self) -> FunctionDeclaration:
        """The declaration that the model reads."""
        return self.offered.declaration

    async def prepare(self, arguments: str) -> McpCall:
        """Parse a call. Raises ToolError unless the arguments are a JSON object; the server checks its contents."""
        try:
            values = json.loads(arguments, strict=False) if arguments.strip() else {}
        except (ValueError, RecursionError):
            raise ToolError(f"{self.name}: the arguments are not valid JSON.") from None
        if not isinstance(values, dict):
            raise ToolError(f"{self.name}: the arguments are not a JSON object.")
        return McpCall(self, values)


@dataclass(frozen=True, slots=True)
class McpCall:
    """A call with parsed arguments."""

    tool: McpTool
    arguments: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """`github.create_issue {"title": "..."}`."""
        return cut(f"{self.tool.name} {json.dumps(self.arguments, ensure_ascii=False)}", 200)

    @property
    def source(self) -> str:
        """The arguments, for the user to change."""
        return json.dumps(self.arguments, ensure_ascii=False, indent=2)

    @property
    def effect(self) -> Effect:
        """The effect. As we cannot know what the server does, every call is asked about unless a rule allows it."""
        server, tool = self.tool.connection.config.name, self.tool.offered.name
        sent = json.dumps([server, tool, self.arguments], sort_keys=True)
        return Effect(
            kind="mcp",
            title=f"Call {tool} of {server}",
            preview=self.source,
            preview_type="code",
            digest=hashlib.sha256(sent.encode()).hexdigest(),
            reach="host",
            mcp=(server, tool),
            details=(("server", server), ("tool", tool)),
        )

    async def revise(self, text: str) -> McpCall:
        """Return the call with other arguments. Raises ToolError."""
        return await self.tool.prepare(text)

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Raises ToolError."""
        connection = self.tool.connection
        result = await connection.call(self.tool.offered.name, self.arguments, on_output)
        return ToolResult(result_text(result), ok=not result.is_error, source=f"MCP server {connection.config.name}")
