"""Tools by name, and what the model is told about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.errors import UsageError
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.declarations import WORKSPACE_FUNCTIONS
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from gptoss_tui.tools.workspace import open_workspace


@pytest.fixture
def registry(workspace: Workspace) -> ToolRegistry:
    return ToolRegistry(workspace_tools(workspace))


def test_declarations_are_those_that_nano_is_trained_on(registry: ToolRegistry) -> None:
    assert registry.declarations == WORKSPACE_FUNCTIONS
    assert registry.names == ("apply_patch", "read_file", "list_files", "search_files")


def test_reading_only(workspace: Workspace) -> None:
    assert ToolRegistry(workspace_tools(workspace, edit=False)).names == ("read_file", "list_files", "search_files")


@pytest.mark.parametrize("recipient", ["functions.read_file", "read_file", " functions.read_file "])
def test_names_with_and_without_namespace(registry: ToolRegistry, recipient: str) -> None:
    tool = registry.find(recipient)
    assert tool is not None
    assert tool.name == "read_file"


@pytest.mark.parametrize("recipient", ["", "functions.", "functions.rm", "browser.read_file", "READ_FILE", "python"])
def test_other_names_are_unknown(registry: ToolRegistry, recipient: str) -> None:
    assert registry.find(recipient) is None


def test_two_tools_of_one_name(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="apply_patch"):
        ToolRegistry([*workspace_tools(workspace), *workspace_tools(workspace)])


def test_a_workspace_is_an_existing_folder(tmp_path: Path) -> None:
    link = tmp_path / "link"
    (tmp_path / "real").mkdir()
    link.symlink_to("real")
    assert open_workspace(link).root == tmp_path / "real"
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(UsageError, match="not a folder"):
            open_workspace(path)
