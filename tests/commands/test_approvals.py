"""`gptoss-tui trust` and `gptoss-tui approvals`, on files in a folder of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss_tui.agent.policy.book import RuleBook
from gptoss_tui.agent.policy.grants import Grant
from gptoss_tui.agent.policy.store import DIRECTORY_VARIABLE
from gptoss_tui.cli import main
from gptoss_tui.settings import CONFIG_VARIABLE

FILE = '[approvals]\nmode = "auto-edit"\n[[approvals.rules]]\nkind = "command-prefix"\npattern = ["make"]\n'


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "state"))
    (tmp_path / "config.toml").write_text("")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config.toml"))
    root = tmp_path / "workspace"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


def test_a_workspace_is_trusted_and_not_any_more(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".gptoss-tui.toml").write_text(FILE)
    assert RuleBook(root).rules == ()
    assert main(["trust"]) == 0
    said = capsys.readouterr().out
    assert "allow commands that begin with make" in said
    assert "start in the mode auto-edit" in said
    assert [rule.pattern for rule in RuleBook(root).rules] == [("make",)]
    assert main(["trust", "--revoke", str(root)]) == 0
    assert RuleBook(root).rules == ()


def test_without_a_file_there_is_nothing_to_trust(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trust"]) == 2
    assert "nothing to trust" in capsys.readouterr().err


def test_a_damaged_file_is_not_trusted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".gptoss-tui.toml").write_text("[approvals]\nmode = 1")
    assert main(["trust"]) == 1
    assert "mode must be one of" in capsys.readouterr().err
    assert not RuleBook(root).workspace_file.trusted


def test_rules_are_listed_and_revoked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approvals", "list"]) == 0
    assert "no rules" in capsys.readouterr().out
    assert main(["approvals"]) == 0
    assert "no rules" in capsys.readouterr().out
    (rule,) = RuleBook(root).grant(Grant((("command", ("make", "all")),), ""), "workspace", "sandbox")
    assert main(["approvals", "list"]) == 0
    assert f"{rule.id}  allow the command make all  (allowed " in capsys.readouterr().out
    assert main(["approvals", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pattern"] == ["make", "all"]
    assert main(["approvals", "revoke", rule.id, "-C", str(root)]) == 0
    assert RuleBook(root).rules == ()
    assert main(["approvals", "revoke", rule.id]) == 2
    assert "no rule" in capsys.readouterr().err
