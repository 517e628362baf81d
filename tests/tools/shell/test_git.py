"""Which git commands ask for the repository, and that those which do not work without writing it."""

from __future__ import annotations

import pytest

from gptoss_tui.tools.shell.git import writes_git
from gptoss_tui.tools.shell.tool import ShellTool
from gptoss_tui.tools.shell.wrappers import command_words
from tests.tools.calls import result

READING = (
    *(
        "git status",
        "git log -3",
        "git -C . --no-pager diff",
        "git branch",
        "git branch -avv",
        "git branch --list 'm*'",
    ),
    *("git branch --show-current", "git branch --contains HEAD", "git branch --sort=-committerdate", "git remote -v"),
    *("git remote get-url o", "git stash list", "git stash show", "git tag", "git tag -l 'v*'", "git tag -n --merged"),
    *("git worktree list", "git config --get user.name", "git config -l --show-origin", "git config user.name"),
    *("git reflog", "git submodule status", "git notes list", "git bisect log", "git", "git --version", "ls"),
)
WRITING = (
    *("git add .", "git commit", "git branch x", "git branch -v x", "git branch -d x", "git branch -m x", "git tag v1"),
    *("git branch --list -D x", "git tag -d v1", "git tag -a v1 --list", "git remote add a b", "git remote -v update"),
    *("git stash", "git stash pop", "git worktree add x", "git config a.b c", "git config --unset a.b"),
    *("git config --get a.b --add", "git config --edit", "git reflog expire", "git submodule update", "git notes add"),
    *("git bisect start", "git unknown", "git -c alias.x=!y x", "ls && timeout 5 git fetch", "git add $x"),
)


@pytest.mark.parametrize("command", READING)
def test_what_reads_asks_for_nothing(command: str) -> None:
    assert not writes_git(command, command_words(command))


@pytest.mark.parametrize("command", WRITING)
def test_what_writes_asks_for_the_repository(command: str) -> None:
    assert writes_git(command, command_words(command))


async def test_what_reads_works_without_writing(shell: ShellTool) -> None:
    await result(shell, "git add a.txt && git commit -qm first && git stash -q && git tag v1")
    commands = [command for command in READING if "git " in command and "show" not in command.split()[2:3]]
    done = await result(shell, "; ".join(f"{command} || echo FAILED $?" for command in commands))
    assert "Read-only" not in done.text
