"""The tools of a conversation by name."""

from __future__ import annotations

from collections.abc import Iterable

from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.tools.apply_patch import ApplyPatchTool
from gptoss_tui.tools.base import Tool, Workspace
from gptoss_tui.tools.list_files import ListFilesTool
from gptoss_tui.tools.read_file import ReadFileTool
from gptoss_tui.tools.search_files import SearchFilesTool

_NAMESPACE = "functions."


class ToolRegistry:
    """Tools in the order in which the model is told about them. Raises UsageError when two have one name."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise UsageError(f"Two tools are called {tool.name}.")
            self._tools[tool.name] = tool

    @property
    def names(self) -> tuple[str, ...]:
        """Names without namespace."""
        return tuple(self._tools)

    @property
    def declarations(self) -> tuple[FunctionDeclaration, ...]:
        """What the model is told."""
        return tuple(tool.declaration for tool in self._tools.values())

    def find(self, recipient: str) -> Tool | None:
        """The tool that a recipient such as `functions.read_file` or `read_file` names; None when there is none."""
        return self._tools.get(recipient.strip().removeprefix(_NAMESPACE))


def workspace_tools(workspace: Workspace, *, edit: bool = True) -> tuple[Tool, ...]:
    """The file tools of a workspace, in the order of `WORKSPACE_FUNCTIONS`; without `edit` only those that read."""
    reading = (ReadFileTool(workspace), ListFilesTool(workspace), SearchFilesTool(workspace))
    return (ApplyPatchTool(workspace), *reading) if edit else reading
