"""The tools of a conversation by name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from gptoss_tui import patch
from gptoss_tui.errors import ToolError, UsageError
from gptoss_tui.harmony.messages import FunctionDeclaration, Message, ToolNamespace
from gptoss_tui.tools.aliases import AliasedTool, alias_of, translation_of
from gptoss_tui.tools.apply_patch import ApplyPatchTool
from gptoss_tui.tools.base import (
    BuiltinTools,
    Citation,
    ConnectedTools,
    FunctionTool,
    PromptOffer,
    RestorableTools,
    Tool,
    Workspace,
)
from gptoss_tui.tools.edits import WritePlan
from gptoss_tui.tools.list_files import ListFilesTool
from gptoss_tui.tools.read_file import ReadFileTool
from gptoss_tui.tools.search_files import SearchFilesTool

SERVERS_SECONDS = 5.0
"""How long a turn waits for the tools of other programs; the model learns of later ones in the next turn."""

_NAMESPACE = "functions."


class ToolRegistry:
    """The tools, in the order in which they are described to the model.

    Raises UsageError when two tools have the same name.
    """

    def __init__(
        self,
        functions: Iterable[FunctionTool],
        builtin: Iterable[BuiltinTools] = (),
        connected: Iterable[ConnectedTools] = (),
    ) -> None:
        self._functions = tuple(functions)
        self._connected = tuple(connected)
        self._builtin = (*builtin, *self._connected)
        names = [tool.name for tool in (*self._functions, *(tool for group in self._builtin for tool in group.tools))]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"Two tools are called {twice}.")

    @property
    def _tools(self) -> dict[str, Tool]:
        """All current tools by name; not cached, because servers come and go."""
        tools: tuple[Tool, ...] = (*self._functions, *(tool for group in self._builtin for tool in group.tools))
        return {tool.name: tool for tool in tools}

    async def ready(self, seconds: float = SERVERS_SECONDS) -> None:
        """Wait for the tools of all other programs concurrently, but no longer than `seconds`."""
        await asyncio.gather(*(group.ready(seconds) for group in self._connected))

    @property
    def names(self) -> tuple[str, ...]:
        """Tool names: functions without namespace, built-in tools as the model calls them."""
        return tuple(self._tools)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recipient of a call to each tool: functions with their namespace, built-in tools by name."""
        functions = {tool.name for tool in self._functions}
        return tuple(f"{_NAMESPACE}{name}" if name in functions else name for name in self._tools)

    @property
    def declarations(self) -> tuple[FunctionDeclaration, ...]:
        """The function declarations for the developer message."""
        return tuple(tool.declaration for tool in self._functions)

    @property
    def namespaces(self) -> tuple[ToolNamespace, ...]:
        """The built-in namespaces for the system message."""
        return tuple(group.namespace for group in self._builtin if group.tools)

    def find(self, recipient: str) -> Tool | None:
        """The tool that a recipient such as `functions.read_file`, `read_file` or `browser.open` names, or None.

        Tool names that models learned elsewhere are also accepted, together with their arguments.
        """
        tools = self._tools
        tool = tools.get(recipient.strip().removeprefix(_NAMESPACE))
        if tool is None and (name := self.alias_of(recipient)):
            return AliasedTool(tools[name], translation_of(recipient))
        return tool

    def alias_of(self, recipient: str) -> str | None:
        """The name of our tool that a foreign tool name such as `container.exec` stands for, or None."""
        return alias_of(recipient, self._tools)

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """The citations in an answer, in their order."""
        return tuple(citation for group in self._builtin for citation in group.cite(answer))

    @property
    def sources(self) -> dict[str, str]:
        """Where built-in tools get their results, by namespace: `{"browser": "DuckDuckGo"}`."""
        return {group.namespace.name: group.source for group in self._builtin if group.source}

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation points at; empty if it points at nothing or the page was forgotten."""
        return next((lines for group in self._builtin if (lines := group.page_text(citation))), ())

    @property
    def prompts(self) -> tuple[PromptOffer, ...]:
        """The prompts that connected programs offer the user."""
        return tuple(offer for group in self._connected for offer in group.prompts)

    async def prompt(self, offer: PromptOffer, arguments: Mapping[str, str]) -> str:
        """The text of `offer` with its arguments filled in. Raises ToolError."""
        if lacking := [name for name in offer.required if not arguments.get(name)]:
            raise ToolError(f"The prompt {offer.name} needs {', '.join(lacking)}.")
        group = next((group for group in self._connected if offer in group.prompts), None)
        if group is None:
            raise ToolError(f"{offer.server} does not offer the prompt {offer.name} any more.")
        return await group.prompt(offer.name, arguments)

    def restore(self, messages: Iterable[Message]) -> None:
        """Restore the tools' state from the messages of a saved conversation."""
        replies = [(message.name or "", message.content) for message in messages if message.role == "tool"]
        for group in self._builtin:
            if isinstance(group, RestorableTools):
                group.restore(replies)

    def reset(self) -> None:
        """Make the built-in tools forget their state and end their processes, at the end of a conversation."""
        for group in self._builtin:
            group.reset()


def workspace_tools(
    workspace: Workspace, *, edit: bool = True, write: WritePlan = patch.apply
) -> tuple[FunctionTool, ...]:
    """The file tools of a workspace, in the order of `WORKSPACE_FUNCTIONS`. Without `edit`, only those that read.

    Edits are written by `write`.
    """
    reading = (ReadFileTool(workspace), ListFilesTool(workspace), SearchFilesTool(workspace))
    return (ApplyPatchTool(workspace, write), *reading) if edit else reading
