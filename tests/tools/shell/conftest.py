"""A workspace that is a repository, and the real sandbox for its commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gptoss_tui.tools.apply_patch import ApplyPatchTool
from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.shell.probes import self_test
from gptoss_tui.tools.shell.sandbox import find_shell_sandbox
from gptoss_tui.tools.shell.tool import ShellTool
from gptoss_tui.tools.workspace import open_workspace
from tests.sandboxes import missing


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root = tmp_path / "root"
    root.mkdir()
    for words in ("init -q", "config user.name a", "config user.email a@example.com"):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
        subprocess.run(["git", *words.split()], cwd=root, check=True, env=environment)
    (root / "a.txt").write_text("one\ntwo\n")
    (root / "sub").mkdir()
    return root


@pytest.fixture
async def shell(root: Path) -> ShellTool:
    """The tool in a sandbox that passed its self-test; skips where there is none."""
    workspace = open_workspace(root)
    try:
        await self_test(find_shell_sandbox(workspace.root))
    except SandboxError as error:
        missing(f"commands: {error.message}")
    return ShellTool(workspace, ApplyPatchTool(workspace))
