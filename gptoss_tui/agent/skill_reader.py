"""A `read_file` tool that can also read the folders of skills outside of the workspace."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import PreparedCall, Workspace
from gptoss_tui.tools.declarations import READ_FILE
from gptoss_tui.tools.read_file import ReadFileTool


@dataclass(frozen=True, slots=True)
class SkillReader:
    """Reads files of the workspace through `inner`, and those in `folders` by their absolute paths."""

    inner: ReadFileTool
    folders: Callable[[], Iterable[Path]]

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return self.inner.declaration

    async def prepare(self, arguments: str) -> PreparedCall:
        """Plan the call. Raises ToolError for wrong arguments."""
        path = posixpath.normpath(parse_arguments(arguments, READ_FILE)["path"])
        if posixpath.isabs(path) and not Path(path).is_relative_to(self.inner.workspace.root):
            for folder in await asyncio.to_thread(self.folders):
                if Path(path).is_relative_to(folder):
                    return await ReadFileTool(Workspace(folder)).prepare(arguments)
        return await self.inner.prepare(arguments)
