"""Tool names and arguments that models learned elsewhere: `container.exec` is our `shell`, `repo_browser.*` file tools.

Only names with the same meaning are mapped. All others get the usual error, which lists the available tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gptoss_tui.tools.base import PreparedCall, Tool

Translation = Callable[[dict[str, Any]], dict[str, Any] | str]

_NAME: Final = re.compile(r"[\w.-]+")
_PATHS: Final = ("path", "file", "file_path", "filepath", "filename", "dir", "directory", "dir_path", "folder", "root")
_QUERIES: Final = ("pattern", "query", "regex", "q", "search_query", "search_term", "text", "input")


@dataclass(frozen=True, slots=True)
class AliasedTool:
    """A tool called by a foreign name; its arguments are translated into our form."""

    tool: Tool
    translate: Translation | None

    @property
    def name(self) -> str:
        """The registered name."""
        return self.tool.name

    async def prepare(self, arguments: str) -> PreparedCall:
        """Raises ToolError."""
        return await self.tool.prepare(_translated(arguments, self.translate) if self.translate else arguments)


def alias_of(recipient: str, names: Container[str]) -> str | None:
    """The name in `names` that the foreign name `recipient` stands for, or None."""
    found = _ALIASES.get(_bare(recipient))
    return found[0] if found and found[0] in names else None


def translation_of(recipient: str) -> Translation | None:
    """The function that translates arguments meant for `recipient` into ours; None if they need no translation."""
    return _ALIASES[_bare(recipient)][1]


def _bare(recipient: str) -> str:
    """A recipient in lower case, without `functions.` and without any control text stuck to its end."""
    match = _NAME.match(recipient.strip().removeprefix("functions."))
    return match[0].lower() if match else ""


def _translated(arguments: str, translate: Translation) -> str:
    """Translate a JSON object. Bare text is left alone: every tool takes it as its first parameter."""
    try:
        given = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    if not isinstance(given, dict):
        return arguments
    translated = translate(given)
    return translated if isinstance(translated, str) else json.dumps(translated)


def _first(given: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value of the first of `names` that was given, or None."""
    return next((given[name] for name in names if given.get(name) is not None), None)


def _kept(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _reading(given: dict[str, Any]) -> dict[str, Any]:
    start = _first(given, ("start_line", "line_start", "start", "offset", "line", "from"))
    end = _first(given, ("end_line", "line_end", "end", "to"))
    lines = _first(given, ("view_range", "lines", "range"))
    if isinstance(lines, list) and len(lines) == 2:
        start, end = lines
    count = _first(given, ("num_lines", "limit", "max_lines", "count"))
    if isinstance(start, int) and start < 1:
        start = 1
    if count is None and isinstance(end, int) and end > 0:
        count = max(1, end - (start if isinstance(start, int) else 1) + 1)
    return _kept(path=_first(given, (*_PATHS, "name", "id")), start_line=start, num_lines=count)


def _listing(given: dict[str, Any]) -> dict[str, Any]:
    return _kept(path=_first(given, _PATHS), pattern=_first(given, ("pattern", "glob", "glob_pattern")))


def _searching(given: dict[str, Any]) -> dict[str, Any]:
    return _kept(pattern=_first(given, _QUERIES), path=_first(given, _PATHS))


def _replacing(given: dict[str, Any]) -> dict[str, Any]:
    return _kept(
        path=_first(given, _PATHS),
        old_text=_first(given, ("old_text", "old_str", "old_string", "search", "find", "old")),
        new_text=_first(given, ("new_text", "new_str", "new_string", "replacement", "replace", "new")),
        count=_first(given, ("count", "expected_replacements", "occurrences")),
    )


def _code(given: dict[str, Any]) -> dict[str, Any] | str:
    code = _first(given, ("code", "input", "source", "script", "cmd", "command", "python"))
    return code if isinstance(code, str) else given


def _web_search(given: dict[str, Any]) -> dict[str, Any]:
    query = _first(given, ("query", "q", "search_query", "search_term", "input"))
    return _kept(query=query, topn=_first(given, ("topn", "top_n", "num_results", "count")))


def _web_open(given: dict[str, Any]) -> dict[str, Any]:
    rest = {name: given[name] for name in ("cursor", "loc", "num_lines") if name in given}
    return _kept(id=_first(given, ("url", "uri", "link", "id", "href")), **rest)


def _web_find(given: dict[str, Any]) -> dict[str, Any]:
    return _kept(pattern=_first(given, _QUERIES), cursor=given.get("cursor"))


_GROUPS: Final[tuple[tuple[str, Translation | None, str], ...]] = (
    (
        "shell",
        None,
        "container.exec container.run container.bash container.shell shell.exec shell.run repo_browser.exec "
        "repo_browser.run bash sh terminal exec exec_command execute_command run_command run_shell_command "
        "run_terminal_cmd run_terminal_command local_shell shell_command unified_exec",
    ),
    (
        "read_file",
        _reading,
        "repo_browser.open_file repo_browser.read_file repo_browser.open repo_browser.cat repo_browser.view "
        "repo_browser.view_file repo_browser.show_file container.read_file open_file view_file file_read cat view read",
    ),
    (
        "list_files",
        _listing,
        "repo_browser.print_tree repo_browser.list_dir repo_browser.list_files repo_browser.list repo_browser.tree "
        "repo_browser.ls repo_browser.glob container.list_files list_dir list_directory list_files_in_dir ls tree glob "
        "glob_files find_files print_tree",
    ),
    (
        "search_files",
        _searching,
        "repo_browser.search repo_browser.grep repo_browser.find repo_browser.search_files grep rg ripgrep grep_search "
        "search_code search_repo",
    ),
    (
        "apply_patch",
        None,
        "repo_browser.apply_patch container.apply_patch shell.apply_patch applypatch apply-patch apply_diff patch",
    ),
    (
        "edit_file",
        _replacing,
        "str_replace str_replace_editor str_replace_based_edit_tool replace_in_file search_replace string_replace "
        "replace edit repo_browser.edit_file repo_browser.str_replace container.edit_file file_edit",
    ),
    (
        "python",
        _code,
        "python3 ipython jupyter code_interpreter python.exec python.execute python.run python.python python_tool "
        "run_python execute_python python_user_visible user_python container.python",
    ),
    ("browser.search", _web_search, "web.search web_search search_web browser.web_search browser.query"),
    ("browser.open", _web_open, "web.open web.fetch open_url fetch_url web_fetch browser.open_url browser.get"),
    ("browser.find", _web_find, "web.find browser.find_in_page browser.search_in_page"),
)
_ALIASES: Final = {alias: (name, translate) for name, translate, aliases in _GROUPS for alias in aliases.split()}
