"""`read_file`: lines of a text file, exactly as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import Effect, ToolResult, Workspace
from gptoss_tui.tools.declarations import READ_FILE
from gptoss_tui.tools.formats import format_read
from gptoss_tui.tools.suggest import similar_paths
from gptoss_tui.tools.workspace import Budget, in_thread, read_text, shown

MAX_LINES = 2000
MAX_CHARS = 64_000
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ReadFileTool:
    """Reads a file of the workspace. Long answers are cut after a whole line; their first line says where."""

    workspace: Workspace

    @property
    def name(self) -> str:
        return READ_FILE.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return READ_FILE

    async def prepare(self, arguments: str) -> ReadFileCall:
        """Raises ToolError for wrong arguments."""
        values = parse_arguments(arguments, READ_FILE)
        call = ReadFileCall(self.workspace, values["path"], values["start_line"], values["num_lines"])
        if call.start < 1 or call.count < 1:
            raise ToolError("read_file: start_line and num_lines count from 1.")
        return call


@dataclass(frozen=True, slots=True)
class ReadFileCall:
    """`count` lines of `path` from line `start`."""

    workspace: Workspace
    path: str
    start: int
    count: int

    @property
    def summary(self) -> str:
        return f"read_file {self.path}" + (f":{self.start}" if self.start > 1 else "")

    @property
    def effect(self) -> Effect | None:
        return None

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Read the lines. Raises ToolError when there is no such text file or line."""
        return await in_thread(self._read, seconds=_SECONDS)

    def _read(self, budget: Budget) -> ToolResult:
        with Tree(self.workspace.root) as tree:
            path = tree.resolve(self.path)
            try:
                text = read_text(tree, path)
            except PathError as error:
                raise ToolError(error.message + similar_paths(tree, path, budget)) from error
        total = len(text.lines)
        if total and self.start > total:
            raise ToolError(f"{path}: it has {total} lines, so there is no line {self.start}.")
        lines = _cut([shown(line) for line in text.lines[self.start - 1 : self.start - 1 + min(self.count, MAX_LINES)]])
        return ToolResult(
            format_read(path, lines, start=self.start, total=total), data={"path": path, "lines": len(lines)}
        )


def _cut(lines: list[str]) -> list[str]:
    """Keep as many whole lines as fit. If the first line alone is too long, it is cut and says so."""
    room = MAX_CHARS
    for count, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0 and count:
            return lines[:count]
        if room < 0:
            return [f"{line[:MAX_CHARS]} [the line has {len(line) - MAX_CHARS} more characters]"]
    return lines
