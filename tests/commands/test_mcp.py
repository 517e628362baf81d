"""`gptoss-tui mcp` and what `doctor` says about servers and the browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gptoss_tui import cli
from gptoss_tui.commands.doctor import _browser, _mcp

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
    assert cli.main(["mcp", "--json"]) == 0
    (box,) = json.loads(capsys.readouterr().out)["servers"]
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
