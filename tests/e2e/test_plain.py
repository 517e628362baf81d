"""The plain app: from a pipe, and in a terminal, where no sequence is written that moves or paints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pexpect

from tests.e2e.conftest import PROGRAM

CREATE = "create hello.py that prints hello"


def test_a_piped_session_asks_and_goes_on(workspace: Path, environment: dict[str, str]) -> None:
    lines = [CREATE, "5", "not today", CREATE, "1", "/undo", "/turns"]
    done = subprocess.run(
        [PROGRAM, "--plain"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        cwd=workspace,
        env=environment,
        timeout=100,
        check=True,
    )
    said = done.stdout
    assert "nano is ready on cpu." in said
    assert said.count("Approval needed: Create hello.py") == 2
    assert "The user did not allow this call. not today" in said
    assert "Tool result: ok" in said
    assert "hello.py: restored" in said
    assert f"1. {CREATE}" in said
    assert list(workspace.iterdir()) == []
    assert "\x1b" not in said
    assert done.stderr == ""


def test_in_a_terminal_ctrl_c_stops_the_turn_and_ctrl_d_ends_the_app(
    workspace: Path, environment: dict[str, str]
) -> None:
    child = pexpect.spawn(
        PROGRAM,
        ["--plain"],
        cwd=str(workspace),
        env=environment | {"TERM": "dumb"},
        encoding="utf-8",
        timeout=60,
        use_poll=True,
    )
    child.expect_exact("You: ")
    child.sendline(CREATE)
    child.expect_exact("Your answer: ")
    child.sendintr()
    child.expect_exact("Stopped.")
    child.expect_exact("You: ")
    child.sendline("/effort high")
    child.expect_exact("Effort is high.")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert list(workspace.iterdir()) == []
