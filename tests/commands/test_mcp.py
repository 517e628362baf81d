"""`gptoss-tui mcp` and what `doctor` says about servers and the browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui import cli
from gptoss_tui.commands.doctor import _browser, _mcp
from gptoss_tui.commands.mcp_edit import with_server, without_server
from gptoss_tui.tools.mcp.config import load_servers
from gptoss_tui.tools.mcp.tokens import Tokens

SERVER = Path(__file__).parents[1] / "tools" / "mcp" / "server.py"


def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **servers: object) -> None:
    """Write `mcp.json` and name the folder."""
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    monkeypatch.setenv("GPTOSS_TUI_CONFIG", str(tmp_path / "config.toml"))


def test_what_servers_offer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(monkeypatch, tmp_path, box={"command": sys.executable, "args": [str(SERVER)]}, gone={"command": "/nowhere"})
    assert cli.main(["mcp"]) == 1
    out = capsys.readouterr().out
    assert "box  ready  9 tools, 3 resources, 1 prompts" in out
    assert "tool      box.add                          Add two numbers." in out
    assert "resource  notes://today                    Notes of today" in out
    assert "gone  failed  " in out


def test_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(monkeypatch, tmp_path, box={"command": sys.executable, "args": [str(SERVER)]})
    assert cli.main(["mcp", "list", "--json"]) == 0
    listed = capsys.readouterr().out
    assert cli.main(["mcp", "--json"]) == 0
    assert capsys.readouterr().out == listed
    (box,) = json.loads(listed)["servers"]
    assert (box["state"], len(box["tools"]), box["prompts"][0]["name"]) == ("ready", 9, "review")


def test_without_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(monkeypatch, tmp_path)
    assert cli.main(["mcp"]) == 0
    assert "no MCP servers are configured" in capsys.readouterr().out
    (check,) = _mcp()
    assert (check.status, check.detail.endswith(": none")) == ("ok", True)


def test_a_file_that_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up(monkeypatch, tmp_path, box={})
    assert cli.main(["mcp"]) == 2
    (check,) = _mcp()
    assert check.status == "problem"


def test_doctor_says_where_pages_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_up(monkeypatch, tmp_path)
    (check,) = _browser()
    assert check.detail.startswith("reads the documents in ")
    monkeypatch.setenv("GPTOSS_TUI_BROWSER_BACKEND", "searxng")
    (check,) = _browser()
    assert (check.status, check.hint) == ("problem", "set searxng_url")
    monkeypatch.setenv("GPTOSS_TUI_SEARXNG_URL", "http://localhost:8888")
    monkeypatch.setenv("GPTOSS_TUI_BROWSER_PROXY", "http://me:secret@proxy.example:3128")
    (check,) = _browser()
    assert check.detail == "reads the web, searched with SearXNG, through the proxy proxy.example"


@pytest.fixture
def servers_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`mcp.json` in a folder that does not exist yet."""
    monkeypatch.setenv("GPTOSS_TUI_CONFIG", str(tmp_path / "new" / "config.toml"))
    return tmp_path / "new" / "mcp.json"


def added(*arguments: str) -> int:
    return cli.main(["mcp", "add", *arguments])


def test_the_first_server_makes_the_file(
    servers_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEY", "secret")
    assert added("files", "--env", "KEY=${KEY}", "--", "npx", "-y", "server-files", "--url") == 0
    assert capsys.readouterr().out == f"added files to {servers_file}; `gptoss-tui mcp` shows what it offers\n"
    assert servers_file.read_text() == (
        '{\n  "mcpServers": {\n    "files": {"command": "npx", "args": ["-y", "server-files", "--url"], '
        '"env": {"KEY": "${KEY}"}}\n  }\n}\n'
    )
    assert servers_file.stat().st_mode & 0o777 == 0o600, "it may hold secrets"
    (server,) = load_servers({"GPTOSS_TUI_CONFIG": str(servers_file.with_name("config.toml")), "KEY": "secret"})
    assert (server.command, server.args, server.env) == ("npx", ("-y", "server-files", "--url"), {"KEY": "secret"})
    assert added("docs", "--url", "https://example.com/mcp", "--header", "X-Team=a=b") == 0
    assert json.loads(servers_file.read_text())["mcpServers"]["docs"] == {
        "url": "https://example.com/mcp",
        "headers": {"X-Team": "a=b"},
    }


def test_a_server_is_replaced_only_with_force_and_removed_with_its_login(servers_file: Path) -> None:
    assert added("docs", "--url", "https://example.com/mcp") == 0
    old = servers_file.read_text()
    assert added("docs", "--url", "https://example.org/mcp") == 2
    assert servers_file.read_text() == old
    assert added("docs", "--force", "--url", "https://example.org/mcp") == 0
    assert servers_file.read_text() == old.replace(".com", ".org")
    token = Tokens("https://example.org/mcp")
    token.save()
    assert token.path.exists()
    assert cli.main(["mcp", "remove", "docs"]) == 0
    assert json.loads(servers_file.read_text()) == {"mcpServers": {}}
    assert not token.path.exists()
    assert cli.main(["mcp", "remove", "docs"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a"], "either a program or an address"),
        (["a", "--url", "http://x", "--", "b"], "either a program or an address"),
        (["a b", "--", "c"], "not a name"),
        (["a", "--url", "file:///x"], "url is not an http or https address"),
        (["a", "--env", "TOKEN", "--", "b"], "--env needs NAME=VALUE"),
        (["a", "--header", "A=b", "--", "b"], "--header is for an address"),
        (["a", "--", "b", "${NOT_SET_AT_ALL}"], "the variable NOT_SET_AT_ALL is not set"),
    ],
)
def test_what_is_no_server_is_not_added(
    arguments: list[str], said: str, servers_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert added(*arguments) == 2
    assert said in capsys.readouterr().err
    assert not servers_file.exists()


def test_a_file_that_is_not_understood_stays(servers_file: Path) -> None:
    servers_file.parent.mkdir()
    for text in ("{", "{}", '{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}'):
        servers_file.write_text(text)
        assert added("a", "--force", "--", "z") == 2 or text.count('"a"') == 2
        assert cli.main(["mcp", "remove", "a"]) == 2
    assert '"x"' in servers_file.read_text()


_WORDS = st.text(max_size=4)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_WORDS, inner, max_size=2),
    max_leaves=4,
)


@given(
    others=st.dictionaries(_WORDS, _JSON, max_size=2),
    servers=st.dictionaries(_WORDS, _JSON, max_size=3),
    name=_WORDS,
    indent=st.sampled_from([None, 0, 1, "\t"]),
    ascii_only=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_rest_of_the_file_stays_as_it_is(
    others: dict[str, Any], servers: dict[str, Any], name: str, indent: int | str | None, ascii_only: bool
) -> None:
    document = {**others, "mcpServers": servers, "last": {"mcpServers": {}}}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    new = with_server(text, name, {"command": "x"})
    assert json.loads(new) == {**document, "mcpServers": {**servers, name: {"command": "x"}}}
    gone = without_server(new, name)
    assert json.loads(gone) == {**document, "mcpServers": {key: servers[key] for key in servers if key != name}}
    if name not in servers and servers:
        assert gone == text
