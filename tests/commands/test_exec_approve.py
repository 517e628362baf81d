"""What `exec` does without asking for each word of `--approve`, with commands in the real sandbox and without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gptoss_tui import cli
from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.shell.probes import self_test
from gptoss_tui.tools.shell.sandbox import find_shell_sandbox
from tests.agent.helpers import ANSWER, CALL_PATCH, call
from tests.commands.test_exec import Exec, run_exec
from tests.sandboxes import missing

__all__ = ["run_exec"]

DENY = '[approvals]\n[[approvals.rules]]\nkind = "command-prefix"\npattern = ["git", "push"]\nverdict = "deny"\n'


def shell(command: str, **more: object) -> str:
    return call("shell", json.dumps({"command": command, **more}))


@pytest.fixture
def sandboxed(tmp_path: Path, run_exec: Exec) -> None:
    """Skips where commands have no sandbox."""
    try:
        asyncio.run(self_test(find_shell_sandbox((tmp_path / "work").resolve())))
    except SandboxError as error:
        missing(f"commands: {error.message}")


@pytest.fixture
def unsandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system for which there is no sandbox."""
    monkeypatch.setattr("gptoss_tui.tools.shell.sandbox.platform.machine", lambda: "mips")


@pytest.mark.parametrize(("approve", "runs"), [("none", False), ("edits", False), ("sandboxed", True), ("all", True)])
@pytest.mark.usefixtures("sandboxed")
def test_commands_in_the_sandbox(run_exec: Exec, tmp_path: Path, approve: str, runs: bool) -> None:
    code, _, _ = run_exec((shell("touch made"), ANSWER), "--approve", approve, "touch it")
    assert (code, (tmp_path / "work" / "made").exists()) == ((0, True) if runs else (3, False))


@pytest.mark.parametrize(("approve", "runs"), [("none", False), ("edits", False), ("sandboxed", False), ("all", True)])
@pytest.mark.usefixtures("unsandboxed")
def test_commands_without_a_sandbox(run_exec: Exec, tmp_path: Path, approve: str, runs: bool) -> None:
    code, _, err = run_exec((shell("touch made"), ANSWER), "--approve", approve, "touch it")
    assert (code, (tmp_path / "work" / "made").exists()) == ((0, True) if runs else (3, False))
    assert runs or "asks because: no sandbox holds it" in err


@pytest.mark.usefixtures("sandboxed")
def test_sandboxed_stops_at_the_network_and_at_what_could_not_be_parsed(run_exec: Exec, tmp_path: Path) -> None:
    for transcript in (shell("touch made", network=True), shell("touch $X made"), shell("git init . && git commit")):
        assert run_exec((transcript, ANSWER), "--approve", "sandboxed", "touch it")[0] == 3
    assert list((tmp_path / "work").iterdir()) == []
    assert run_exec((CALL_PATCH, ANSWER), "--approve", "sandboxed", "create hello.py")[0] == 0
    assert (tmp_path / "work" / "hello.py").exists()


@pytest.mark.parametrize("command", ["echo 'export X=1' > .envrc", "d=.envrc; echo x > $d", "tee .envr?"])
@pytest.mark.usefixtures("unsandboxed")
def test_without_a_sandbox_all_writes_no_protected_file(run_exec: Exec, tmp_path: Path, command: str) -> None:
    code, _, err = run_exec((shell(command), ANSWER), "--approve", "all", "write it")
    assert (code, list((tmp_path / "work").iterdir())) == (3, [])
    assert "asks because: it may write protected files" in err


@pytest.mark.usefixtures("unsandboxed")
def test_a_rule_that_may_apply_is_named(run_exec: Exec, tmp_path: Path) -> None:
    (tmp_path / "work" / ".gptoss-tui.toml").write_text(DENY)
    code, _, err = run_exec((shell("g=push; git $g"), ANSWER), "--approve", "all", "push it")
    assert code == 3
    assert "a rule denies commands that begin with git push, which this may run" in err
    code, _, err = run_exec((shell("x=1; git push"), ANSWER), "--approve", "all", "push it")
    assert code == 0
    assert "A rule denies commands that begin with git push" in err


@pytest.mark.parametrize("words", [["exec"], ["mcp", "serve"]])
def test_the_words_are_the_same_everywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--approve {none,edits,sandboxed,all}" in shown
    assert "all: also commands without a sandbox" in shown
