"""Names from elsewhere reach the tool that means the same, with arguments that it understands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.aliases import AliasedTool, alias_of
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.edit_file import EditFileTool
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from tests.tools.calls import call


@pytest.fixture
def registry(workspace: Workspace) -> ToolRegistry:
    return ToolRegistry(workspace_tools(workspace))


@pytest.mark.parametrize(
    ("recipient", "arguments", "same_as", "ours"),
    [
        ("repo_browser.open_file", {"path": "README.md"}, "read_file", {"path": "README.md"}),
        (
            "functions.repo_browser.open_file",
            {"path": "README.md", "line_start": 2, "line_end": 3},
            "read_file",
            {"path": "README.md", "start_line": 2, "num_lines": 2},
        ),
        ("view", {"file_path": "README.md", "view_range": [1, 2]}, "read_file", {"path": "README.md", "num_lines": 2}),
        ("cat", {"filename": "README.md", "offset": 0}, "read_file", {"path": "README.md"}),
        ("repo_browser.print_tree", {"path": "src", "depth": 2}, "list_files", {"path": "src"}),
        ("repo_browser.list_dir", {}, "list_files", {}),
        ("glob", {"pattern": "*.py"}, "list_files", {"pattern": "*.py"}),
        (
            "repo_browser.search",
            {"query": "hello", "path": "src", "max_results": 5},
            "search_files",
            {"pattern": "hello", "path": "src"},
        ),
        ("Repo_Browser.Search<|channel|>commentary", {"query": "hello"}, "search_files", {"pattern": "hello"}),
    ],
)
async def test_what_a_name_from_elsewhere_gives(
    registry: ToolRegistry, recipient: str, arguments: dict[str, object], same_as: str, ours: dict[str, object]
) -> None:
    aliased, tool = registry.find(recipient), registry.find(same_as)
    assert aliased is not None
    assert tool is not None
    assert aliased.name == same_as == registry.alias_of(recipient)
    assert await call(aliased, json.dumps(arguments)) == await call(tool, json.dumps(ours))


async def test_a_bare_text_is_the_first_parameter(registry: ToolRegistry) -> None:
    tool = registry.find("repo_browser.open_file")
    assert tool is not None
    assert "# Title" in await call(tool, "README.md")
    with pytest.raises(ToolError, match="path"):
        await call(tool, "{}")


async def test_patches_are_patches(registry: ToolRegistry, root: Path) -> None:
    tool = registry.find("repo_browser.apply_patch")
    assert tool is not None
    await call(tool, json.dumps({"patch": "*** Begin Patch\n*** Add File: n\n+x\n*** End Patch"}))
    assert (root / "n").read_text() == "x\n"


async def test_replacements_are_edits(workspace: Workspace, root: Path) -> None:
    registry = ToolRegistry((EditFileTool(workspace),))
    forms = {"str_replace": ("path", "old_str", "new_str"), "edit": ("file_path", "old_string", "new_string")}
    for recipient, names in forms.items():
        (root / "n").write_text("x\n")
        tool = registry.find(recipient)
        assert tool is not None
        await call(tool, json.dumps(dict(zip(names, ("n", "x", "y"), strict=True))))
        assert (root / "n").read_text() == "y\n"


@pytest.mark.parametrize(
    "recipient", ["container.exec", "python3", "web.search", "repo_browser.teleport", "", "<|", "é"]
)
def test_names_without_a_tool_are_not_found(registry: ToolRegistry, recipient: str) -> None:
    assert registry.find(recipient) is None
    assert registry.alias_of(recipient) is None


def test_our_own_names_are_never_aliases() -> None:
    names = ("shell", "read_file", "list_files", "search_files", "apply_patch", "python", "browser.search")
    assert [alias_of(name, names) for name in names] == [None] * len(names)


async def test_code_and_addresses_are_put_into_our_form() -> None:
    class Recording:
        def __init__(self, name: str) -> None:
            self.name = name
            self.given = ""

        async def prepare(self, arguments: str) -> None:
            self.given = arguments
            raise ToolError("seen")

    for recipient, arguments, ours in (
        ("python.exec", '{"code": "print(1)"}', "print(1)"),
        ("code_interpreter", "print(1)", "print(1)"),
        ("web.search", '{"q": "x", "num_results": 3}', '{"query": "x", "topn": 3}'),
        ("open_url", '{"url": "https://a.example"}', '{"id": "https://a.example"}'),
        ("browser.find_in_page", '{"query": "x"}', '{"pattern": "x"}'),
        ("container.exec", '{"cmd": ["ls"]}', '{"cmd": ["ls"]}'),
    ):
        names = ("python", "browser.search", "browser.open", "browser.find", "shell")
        tool = Recording(alias_of(recipient, names) or "")
        registry = ToolRegistry((), (_Group(tool),))  # type: ignore[arg-type]
        found = registry.find(recipient)
        assert isinstance(found, AliasedTool)
        with pytest.raises(ToolError, match="seen"):
            await found.prepare(arguments)
        assert tool.given == ours


class _Group:
    def __init__(self, tool: object) -> None:
        self.tools = (tool,)
