"""`search_files`: the lines of the workspace that match a regular expression, with a strict time limit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import regex

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.patch.confine import PathError, Tree, describe
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import Effect, ToolResult, Workspace
from gptoss_tui.tools.declarations import SEARCH_FILES
from gptoss_tui.tools.formats import format_matches
from gptoss_tui.tools.ripgrep import narrowed
from gptoss_tui.tools.suggest import similar_paths
from gptoss_tui.tools.workspace import Budget, Walk, in_thread, read_text, shown

MAX_MATCHES = 100
MAX_LINE = 300
_MAX_COUNTED = 10_000
_SECONDS = 10.0
_MAX_PATTERN = 1000
_MAX_REPEATS = 10_000
_REPEAT = re.compile(r"\{(\d+)")


@dataclass(frozen=True, slots=True)
class SearchFilesTool:
    """Searches the text files of the workspace, except those ignored by .gitignore."""

    workspace: Workspace

    @property
    def name(self) -> str:
        return SEARCH_FILES.name

    @property
    def declaration(self) -> FunctionDeclaration:
        return SEARCH_FILES

    async def prepare(self, arguments: str) -> SearchFilesCall:
        """Raises ToolError for wrong arguments and for a pattern that is not a regular expression."""
        values = parse_arguments(arguments, SEARCH_FILES)
        pattern = values["pattern"]
        if not pattern or len(pattern) > _MAX_PATTERN:
            raise ToolError(f"search_files: the pattern must have 1 to {_MAX_PATTERN} characters.")
        # Compiling a pattern unrolls repeated literals: `(a{1000}){1000}` takes a quarter of a GB.
        if math.prod(int(count) or 1 for count in _REPEAT.findall(pattern)) > _MAX_REPEATS:
            raise ToolError(f"search_files: the repeat counts of the pattern multiply to more than {_MAX_REPEATS}.")
        try:
            compiled = regex.compile(pattern)
        except (regex.error, RecursionError, OverflowError) as error:
            raise ToolError(
                f"search_files: the pattern is not a regular expression ({error}). "
                f"To find it as plain text, send {regex.escape(pattern, literal_spaces=True)!r}."
            ) from error
        return SearchFilesCall(self.workspace, compiled, values["path"] or ".")


@dataclass(frozen=True, slots=True)
class SearchFilesCall:
    """Finds the lines in files beneath `path` that match `pattern`."""

    workspace: Workspace
    pattern: regex.Pattern[str]
    path: str

    @property
    def summary(self) -> str:
        return f"search_files {self.pattern.pattern}" + (f" in {self.path}" if self.path != "." else "")

    @property
    def effect(self) -> Effect | None:
        return None

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Search the files. Raises ToolError when there is no such path, or when the pattern takes too long."""
        return await in_thread(self._search, seconds=_SECONDS)

    def _search(self, budget: Budget) -> ToolResult:
        matches: list[tuple[str, int, str]] = []
        total = 0
        with Tree(self.workspace.root) as tree:
            try:
                for match in self._matches(tree, budget):
                    total += 1
                    if total <= MAX_MATCHES:
                        matches.append(match)
                    if total >= _MAX_COUNTED:
                        break
            except TimeoutError:
                raise ToolError(
                    f"search_files: stopped after {_SECONDS:.0f} seconds and {total} matches. "
                    "Send a simpler pattern or a smaller path."
                ) from None
        return ToolResult(format_matches(matches, total=total), data={"count": total})

    def _matches(self, tree: Tree, budget: Budget) -> Iterator[tuple[str, int, str]]:
        """Yield every match as path, line number and line. Raises TimeoutError when the budget is used up."""
        files = narrowed(self.workspace.root, list(self._files(tree, budget)), self.pattern.pattern, budget.left)
        for path in files:
            try:
                text = read_text(tree, path)
            except PathError:
                continue  # binary, too large or gone: nothing to search
            for number, line in enumerate(text.lines, 1):
                left = budget.left
                if not left:
                    raise TimeoutError
                if self.pattern.search(line, timeout=left, concurrent=True):
                    yield path, number, _clipped(shown(line))

    def _files(self, tree: Tree, budget: Budget) -> Iterator[str]:
        path = tree.resolve(self.path)
        status = None if path == "." else tree.stat(path)
        if path != "." and status is None:
            raise ToolError(f"{path}: there is no such file or folder" + similar_paths(tree, path, budget))
        if status is not None and describe(status) != "a folder":
            read_text(tree, path)
            yield path
            return
        walk = Walk(tree, budget)
        yield from (entry.path for entry in walk.files(path) if not entry.folder and not entry.link)
        if walk.cut and not budget.left:
            raise TimeoutError


def _clipped(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"
