"""Making a tool call the way the agent does."""

from __future__ import annotations

from gptoss_tui.tools.base import Tool, ToolResult


async def call(tool: Tool, arguments: str) -> str:
    """What the model reads. Raises ToolError."""
    return (await result(tool, arguments)).text


async def result(tool: Tool, arguments: str) -> ToolResult:
    prepared = await tool.prepare(arguments)
    return await prepared.run(lambda text: None)
