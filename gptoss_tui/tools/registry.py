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
"""So long a turn waits for tools of other programs; those that come later are told to the model with the next turn."""

_NAMESPACE = "functions."


class ToolRegistry:
    """Tools in the order in which the model is told about them. Raises UsageError when two have one name."""

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
        """All tools that there are now: servers come and go."""
        tools: tuple[Tool, ...] = (*self._functions, *(tool for group in self._builtin for tool in group.tools))
        return {tool.name: tool for tool in tools}

    async def ready(self, seconds: float = SERVERS_SECONDS) -> None:
        """Wait until tools of other programs are known, all at once and no longer than `seconds`."""
        await asyncio.gather(*(group.ready(seconds) for group in self._connected))

    @property
    def names(self) -> tuple[str, ...]:
        """Functions without namespace, built-in tools as they are called."""
        return tuple(self._tools)

    @property
    def recipients(self) -> tuple[str, ...]:
        """What a call of each tool is addressed to: functions with their namespace, built-in tools by their names."""
        functions = {tool.name for tool in self._functions}
        return tuple(f"{_NAMESPACE}{name}" if name in functions else name for name in self._tools)

    @property
    def declarations(self) -> tuple[FunctionDeclaration, ...]:
        """What the developer message tells the model."""
        return tuple(tool.declaration for tool in self._functions)

    @property
    def namespaces(self) -> tuple[ToolNamespace, ...]:
        """What the system message tells the model."""
        return tuple(group.namespace for group in self._builtin if group.tools)

    def find(self, recipient: str) -> Tool | None:
        """The tool that a recipient such as `functions.read_file`, `read_file` or `browser.open` names, or None.

        Names that models learned elsewhere are understood, with the arguments that go with them.
        """
        tools = self._tools
        tool = tools.get(recipient.strip().removeprefix(_NAMESPACE))
        if tool is None and (name := self.alias_of(recipient)):
            return AliasedTool(tools[name], translation_of(recipient))
        return tool

    def alias_of(self, recipient: str) -> str | None:
        """The name of the tool that a name from elsewhere, such as `container.exec`, means; None when it means none."""
        return alias_of(recipient, self._tools)

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """The citations in an answer, in their order."""
        return tuple(citation for group in self._builtin for citation in group.cite(answer))

    @property
    def sources(self) -> dict[str, str]:
        """Where built-in tools get their results, by namespace: `{"browser": "DuckDuckGo"}`."""
        return {group.namespace.name: group.source for group in self._builtin if group.source}

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation points at; none when it points at nothing or the page is forgotten."""
        return next((lines for group in self._builtin if (lines := group.page_text(citation))), ())

    @property
    def prompts(self) -> tuple[PromptOffer, ...]:
        """What connected programs offer a person to send."""
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
        """A saved conversation goes on: tools take their state from what the model read back."""
        replies = [(message.name or "", message.content) for message in messages if message.role == "tool"]
        for group in self._builtin:
            if isinstance(group, RestorableTools):
                group.restore(replies)

    def reset(self) -> None:
        """A new conversation begins, or none follows: built-in tools forget their state and end their processes."""
        for group in self._builtin:
            group.reset()


def workspace_tools(
    workspace: Workspace, *, edit: bool = True, write: WritePlan = patch.apply
) -> tuple[FunctionTool, ...]:
    """The file tools of a workspace, in the order of `WORKSPACE_FUNCTIONS`; without `edit` only those that read.

    Edits go through `write`.
    """
    reading = (ReadFileTool(workspace), ListFilesTool(workspace), SearchFilesTool(workspace))
    return (ApplyPatchTool(workspace, write), *reading) if edit else reading
