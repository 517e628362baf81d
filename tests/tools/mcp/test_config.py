"""`mcp.json`, and what is made of names and schemas that servers give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.typescript import to_typescript
from gptoss_tui.tools.mcp.config import ServerConfig, load_servers, servers_path
from gptoss_tui.tools.mcp.listing import MAX_TOOLS, Listing, Offer, namespace_name, offered_tools
from gptoss_tui.tools.mcp.tools import mcp_servers

SECRET = "ghp_0123456789"


def write(tmp_path: Path, content: object) -> dict[str, str]:
    """The environment whose `mcp.json` holds `content`."""
    environ = {"GPTOSS_TUI_CONFIG": str(tmp_path / "config.toml"), "TOKEN": SECRET}
    servers_path(environ).write_text(content if isinstance(content, str) else json.dumps(content))
    return environ


def test_the_common_format(tmp_path: Path) -> None:
    environ = write(
        tmp_path,
        {
            "mcpServers": {
                "github": {
                    "command": "npx",
                    "args": ["-y", "@modelcontextprotocol/server-github", "--token=${TOKEN}"],
                    "env": {"GITHUB_TOKEN": "${TOKEN}", "LEVEL": "${NOT_SET:-info}"},
                    "cwd": "/tmp",
                },
                "remote": {
                    "type": "http",
                    "url": "https://example.com/mcp",
                    "headers": {"Authorization": "Bearer ${TOKEN}"},
                    "timeout": 30,
                },
                "off": {"command": "x", "disabled": True},
            }
        },
    )
    github, remote = load_servers(environ)
    assert (github.name, github.command, github.cwd) == ("github", "npx", "/tmp")
    assert github.args[2] == f"--token={SECRET}"
    assert github.env == {"GITHUB_TOKEN": SECRET, "LEVEL": "info"}
    assert (remote.url, remote.seconds) == ("https://example.com/mcp", 30.0)
    assert remote.headers == {"Authorization": f"Bearer {SECRET}"}
    assert SECRET not in repr((github, remote))


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert load_servers({"GPTOSS_TUI_CONFIG": str(tmp_path / "config.toml")}) == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "either a command or a url"),
        ({"command": "x", "url": "https://x"}, "either a command or a url"),
        ({"type": "http", "command": "x"}, "either a command or a url"),
        ({"type": "sse", "url": "https://x"}, "'sse' is not supported"),
        ({"url": "ftp://x"}, "not an http or https address"),
        ({"command": ["x"]}, "command is not a string"),
        ({"command": "x", "args": "y"}, "args is not a list"),
        ({"command": "x", "env": {"A": 1}}, "env is not an object of strings"),
        ({"command": "x", "env": {"A": "${NOT_SET}"}}, "NOT_SET is not set"),
        ({"command": "x", "timeout": 0}, "timeout"),
        ({"command": "x", "tokn": SECRET}, "unknown key tokn"),
        ("x", "not an object"),
    ],
)
def test_entries_that_are_wrong(tmp_path: Path, entry: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load_servers(write(tmp_path, {"mcpServers": {"a": entry}}))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"mcpServers": []}', "[" * 100_000])
def test_files_that_are_wrong(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match=r"mcp\.json"):
        load_servers(write(tmp_path, content))


@pytest.mark.parametrize(
    ("names", "namespaces"),
    [
        (["github"], ["github"]),
        (["my server!", "my.server?"], ["my_server", "my_server_2"]),
        (["functions", "Browser", "python"], ["mcp_functions", "mcp_Browser", "mcp_python"]),
        (["", "ü"], ["server", "server_2"]),
    ],
)
def test_namespaces_are_names(names: list[str], namespaces: list[str]) -> None:
    taken: list[str] = []
    for name in names:
        taken.append(namespace_name(name, taken))
    assert taken == namespaces
    assert mcp_servers(()) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
SCHEMAS = st.fixed_dictionaries({"type": st.just("object"), "properties": JSON}) | JSON


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=30), SCHEMAS), max_size=8))
def test_whatever_a_server_lists_can_be_rendered(tools: list[tuple[str, str, Any]]) -> None:
    offered = offered_tools(tools)
    names = [tool.declaration.name for tool in offered]
    assert len(set(names)) == len(names) == len(tools)
    assert [tool.name for tool in offered] == [name for name, _, _ in tools]
    for tool in offered:
        assert tool.declaration.name.replace("_", "").replace("-", "").isascii()
        if tool.declaration.parameters is not None:
            to_typescript(tool.declaration.parameters)


def test_titles_that_repeat_names_are_left_out() -> None:
    text = {"title": "Title", "type": "string"}
    schema = {"type": "object", "title": "Arguments", "properties": {"title": text, "all": {"items": text}}}
    (tool,) = offered_tools([("t", "", schema)])
    bare = {"type": "string"}
    assert tool.declaration.parameters == {"type": "object", "properties": {"title": bare, "all": {"items": bare}}}


def test_listings_are_bounded() -> None:
    huge = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "x" * 900} for n in range(99)}}
    offered = offered_tools(("t", "d" * 5000, huge) for _ in range(500))
    assert len(offered) == MAX_TOOLS
    assert len(offered[0].declaration.description) == 1024
    assert len(json.dumps(offered[0].declaration.parameters)) < 2000


def test_a_server_without_resources_has_no_tools_for_them() -> None:
    (server,) = mcp_servers((ServerConfig("box", command="box"),))
    server.connection.listing = Listing(offered_tools([("read_resource", "mine", None)]))
    assert [tool.name for tool in server.tools] == ["box.read_resource"]
    server.connection.listing = Listing(server.connection.listing.tools, (Offer("a://b", "c"),))
    names = [tool.name for tool in server.tools]
    assert names == ["box.read_resource", "box.list_resources", "box.read_resource_2"]
