"""`list_files`: all files beneath a folder, or only one level of it when there are too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.patch.confine import Tree, describe
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import Effect, ToolResult, Workspace
from gptoss_tui.tools.declarations import LIST_FILES
from gptoss_tui.tools.formats import format_listing
from gptoss_tui.tools.suggest import similar_paths
from gptoss_tui.tools.workspace import Budget, Entry, Walk, glob_error, in_thread

MAX_PATHS = 300
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ListFilesTool:
    """Lists files of the workspace, except `.git` and files ignored by .gitignore."""

    workspace: Workspace

    @property
    def name(self) -> str:
        return LIST_FILES.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return LIST_FILES

    async def prepare(self, arguments: str) -> ListFilesCall:
        """Raises ToolError for wrong arguments."""
        values = parse_arguments(arguments, LIST_FILES)
        return ListFilesCall(self.workspace, values["path"] or ".", values["pattern"])


@dataclass(frozen=True, slots=True)
class ListFilesCall:
    """Lists the files beneath `path` that match the glob `pattern`, if there is one."""

    workspace: Workspace
    path: str
    pattern: str | None

    @property
    def summary(self) -> str:
        return f"list_files {self.path}" + (f" {self.pattern}" if self.pattern else "")

    @property
    def effect(self) -> Effect | None:
        return None

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """List the files. Raises ToolError when there is no such folder."""
        return await in_thread(self._list, seconds=_SECONDS)

    def _list(self, budget: Budget) -> ToolResult:
        with Tree(self.workspace.root) as tree:
            folder = tree.resolve(self.path)
            entries = self._entries(tree, folder, budget)
        paths = sorted(f"{entry.path}/" if entry.folder else entry.path for entry in entries)
        if len(paths) > MAX_PATHS and not self.pattern:
            paths = _one_level(paths, folder)
        kept = paths[:MAX_PATHS]
        return ToolResult(format_listing(kept, total=len(paths)), data={"count": len(paths)})

    def _entries(self, tree: Tree, folder: str, budget: Budget) -> list[Entry]:
        status = None if folder == "." else tree.stat(folder)
        if folder != "." and status is None:
            raise ToolError(f"{folder}: there is no such folder" + similar_paths(tree, folder, budget))
        if status is not None and describe(status) != "a folder":
            return [Entry(folder)]
        wanted = _glob(self.pattern) if self.pattern else None
        start = 0 if folder == "." else len(folder) + 1
        return [
            entry
            for entry in Walk(tree, budget).files(folder)
            if wanted is None or wanted.match_file(entry.path) or wanted.match_file(entry.path[start:])
        ]


def _glob(pattern: str) -> GitIgnoreSpec:
    literal = f"\\{pattern}" if pattern[0] in "!#" else pattern
    if reason := glob_error(literal):
        raise ToolError(f"list_files: the pattern is not a glob such as *.py or src/**/*.md ({reason}).")
    return GitIgnoreSpec.from_lines([literal])


def _one_level(paths: list[str], folder: str) -> list[str]:
    """The files directly in `folder`, and its subfolders with a trailing `/`."""
    start = 0 if folder == "." else len(folder) + 1
    level: dict[str, None] = {}
    for path in paths:
        head, slash, _ = path[start:].partition("/")
        level[path[:start] + head + slash] = None
    return list(level)
