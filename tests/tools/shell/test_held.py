"""What a command made against its removal: modes, long names, folders that nobody may read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent.policy import Policy, decide
from gptoss_tui.tools.shell import held, tool, walk
from gptoss_tui.tools.shell.tool import ShellTool
from tests.tools.calls import result
from tests.tools.shell.ordinary import as_ordinary, ordinary_workspace, run_ordinary


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch, shell: ShellTool) -> Iterator[Path]:
    """A workspace for an ordinary user; skips where there is no sandbox."""
    with ordinary_workspace(monkeypatch) as root:
        yield root


def commands() -> Iterator[str]:
    """The command line of every process."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield entry.read_text(errors="replace")


def test_modes_keep_nothing_in_the_workspace(mine: Path) -> None:
    text = run_ordinary(
        mine,
        "mkdir -p '!a' sub/.g''it/deep x && touch '!a/.env''rc' sub/.g''it/config x/.env''rc && echo out"
        " && chmod 555 '!a' && chmod -R a-w sub && chmod 444 x",
    )
    assert text.startswith("out\n[Held back: !a/.envrc, sub/.git, x/.envrc. ")
    assert not list(mine.rglob(".envrc"))
    assert not (mine / "sub/.git").exists()
    assert (mine / "!a").stat().st_mode & 0o777 == 0o555, "as the command left it"


def test_a_folder_that_cannot_be_read_is_read_only_and_keeps_what_is_in_it(mine: Path) -> None:
    def shut() -> str:
        (mine / "sub/.git/hooks").mkdir(parents=True)
        (mine / "sub").chmod(0o311)
        return ""

    as_ordinary(shut)
    text = run_ordinary(mine, "echo x > sub/.g''it/hooks/x; chmod 755 sub")
    assert text.count("Read-only file system") == 2
    assert "[Read-only, since it cannot be looked into: sub.]" in text
    assert (mine / "sub/.git/hooks").is_dir()

    def meanwhile() -> str:
        before = held.survey(mine)
        (mine / "sub").chmod(0o755)  # as the person may do
        return str(held.hold_back(mine, before, git=False, place=mine / "held") == held.Findings())

    assert as_ordinary(meanwhile) == "True"
    assert (mine / "sub/.git/hooks").is_dir()


def test_a_workspace_that_was_shut_is_opened_or_runs_nothing(mine: Path) -> None:
    as_ordinary(lambda: (mine / ".git/hooks").mkdir(parents=True))
    text = run_ordinary(mine, "chmod 311 .", "echo x > .g''it/hooks/x")
    assert "Read-only file system" in text
    mine.chmod(0o311)
    with pytest.raises(AssertionError, match=r"nothing was run: .* cannot be listed"):
        run_ordinary(mine, "echo x > .g''it/hooks/x")
    assert not list((mine / ".git/hooks").iterdir())


async def test_a_name_that_is_nearly_too_long_keeps_nothing(shell: ShellTool, root: Path) -> None:
    (root / "s.py").write_text(
        "import os\ntop = os.getcwd()\nroom = 4090 - len(top)\n"
        "while room > 250:\n    os.mkdir('d' * 200); os.chdir('d' * 200); room -= 201\n"
        "os.mkdir('d' * (room - 9)); os.chdir('d' * (room - 9)); open('.envrc', 'w').close()\n"
        "os.chdir(top); os.mkdir('z'); open('z/.envrc', 'w').close()\n"
    )
    done = await result(shell, "/usr/bin/python3 s.py")
    assert "/.envrc, z/.envrc. Other programs" in done.text
    assert not [name for _, _, names in os.walk(root) for name in names if name == ".envrc"]


async def test_what_cannot_be_kept_is_removed(
    shell: ShellTool, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "full"))
    done = await result(shell, "mkdir .vsc''ode; touch .env''rc; echo out")
    assert done.text.startswith("out\n[Held back: .envrc, .vscode. ")
    assert "Removed, since it could not be kept: .envrc, .vscode.]" in done.text
    assert not (root / ".envrc").exists()
    assert not (root / ".vscode").exists()


def test_what_stays_is_not_called_held_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = held.survey(root)
    (root / ".envrc").touch()
    (root / "sub/.git").mkdir()
    (root / "held").touch()
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    monkeypatch.setattr(subprocess, "run", lambda words, **how: None)
    found = held.hold_back(root, before, git=False, place=root / "held")
    assert (found.held, found.removed, found.stuck) == ((), (".envrc",), ("sub/.git",))


@pytest.mark.parametrize("place", ["", "/dev/shm"])
async def test_nothing_is_too_deep_or_too_large_to_be_taken_away(
    shell: ShellTool, root: Path, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = Path(place or tmp_path, f"state-{os.getpid()}")  # on another disk, and on this one
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    deep = "import os; os.chdir('.vs' + 'code'); [(os.mkdir('a'), os.chdir('a')) for _ in range(1100)]"
    (root / "deep.py").write_text(deep)
    command = "mkdir .vsc''ode .id''ea; truncate -s 1T .id''ea/x; /usr/bin/python3 deep.py; echo out"
    try:
        done = await result(shell, command)
        assert not (root / ".vscode").exists()
    finally:  # too deep also for who clears up behind the tests
        for left in (state, root / ".vscode"):
            await asyncio.to_thread(held._remove, left)
    assert done.text.startswith("out\n[Held back: .idea, .vscode. ")
    assert ("Removed, since it could not be kept: .idea, .vscode." in done.text) == bool(place)
    assert not (root / ".idea").exists()


async def test_a_link_in_the_place_of_another_is_held_back(shell: ShellTool, root: Path) -> None:
    os.symlink("/nowhere/x", root / ".envrc")
    done = await result(shell, "rm .env''rc; ln -s evil .env''rc; echo x > evil")  # of the same number on many disks
    assert "[Held back: .envrc. " in done.text
    assert os.readlink(root / ".envrc") == "/nowhere/x"


async def test_what_is_written_under_another_name_is_told_of(shell: ShellTool, root: Path) -> None:
    (root / ".envrc").touch()
    os.link(root / ".envrc", root / "notes")
    assert "[It made .envrc, which" in (await result(shell, "echo x > notes")).text


async def test_nothing_runs_any_more_when_it_is_looked_for_what_was_made(shell: ShellTool, root: Path) -> None:
    mark = f"86404.{os.getpid()}"
    script = f"for i in $(seq 300); do (exec -a {mark} bash -c 'while :; do : > .env''rc; done') & done; wait"
    alive: list[bool] = []

    def looked(*given: Any, **named: Any) -> held.Findings:
        alive.append(any(mark in words for words in commands()))
        return held.hold_back(*given, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tool, "hold_back", looked)
        done = await result(shell, json.dumps({"command": script, "timeout": 1}))
    assert alive == [False]
    assert "[Held back: .envrc. " in done.text
    assert not (root / ".envrc").exists()


async def test_who_stops_it_twice_gets_nothing_past(shell: ShellTool, root: Path) -> None:
    prepared = await shell.prepare("touch .env''rc; echo up; sleep 60")
    up, said = asyncio.Event(), list[str]()

    def heard(text: str) -> None:
        said.append(text)
        up.set()

    task = asyncio.create_task(prepared.run(heard))
    await up.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "[Held back: .envrc. " in said[-1]
    assert not (root / ".envrc").exists()


async def test_who_may_not_write_what_is_protected_hears_why(shell: ShellTool, root: Path) -> None:
    (root / ".envrc").write_text("one")
    assert "add" not in (await result(shell, "git add . && git commit -qm first; git checkout -q -b other")).text
    await asyncio.to_thread((root / ".envrc").write_text, "two")
    done = await result(shell, "git stash")
    assert "[A command can only read .envrc, which other programs obey. If it failed for that: " in done.text
    for command in ("git config a.b c", "git remote add a b"):
        assert "[A command can only read .git/config, which" in (await result(shell, command)).text
    assert "can only read" not in (await result(shell, "ls -A .gitignore .envrc.x; cat .envrc; exit 0")).text
    assert "can only read .git, which" in (await result(shell, "touch .g''it/x")).text


async def test_the_rest_of_a_rebase_that_runs_commands_is_told_of(shell: ShellTool, root: Path) -> None:
    text = (
        await result(shell, "git add . && git commit -qm 1; git commit -q --allow-empty -m 2; git rebase --root")
    ).text
    assert "git-rebase-todo" not in text
    plan = "git rebase -q --root --exec 'exit 1; ./evil'; git rebase --edit-todo"
    done = await result(shell, f"GIT_SEQUENCE_EDITOR=true {plan}")
    assert ".git/rebase-merge/git-rebase-todo, which other programs obey: the user should look at it." in done.text
    assert "git-rebase-todo, which" not in (await result(shell, "git add -n a.txt")).text


async def test_two_names_in_a_row_are_protected_as_well(shell: ShellTool, root: Path) -> None:
    (root / ".config/git").mkdir(parents=True)
    done = await result(shell, "mkdir .config/auto''start; touch .config/auto''start/x; touch .config/g''it/config")
    assert "Read-only file system" in done.text
    assert "[Held back: .config/autostart. " in done.text


async def test_no_name_looks_like_a_note(shell: ShellTool, root: Path) -> None:
    done = await result(shell, "mkdir $'a\\n[All is well.]' && touch $'a\\n[All is well.]/.env''rc'")
    assert "\n[All is well.]" not in done.text


@pytest.mark.parametrize("before", ["", "git add -n a.txt; "])
async def test_a_repository_that_a_file_leads_to_keeps_its_hooks(shell: ShellTool, root: Path, before: str) -> None:
    os.rename(root / ".git", root / ".bare")
    (root / ".git").write_text("gitdir: ./.bare\n")
    done = await result(shell, f"{before}echo x > .bare/hooks/x; echo x >> .bare/config")
    assert done.text.count("Read-only file system") == 2
    assert "first" in (await result(shell, "git add a.txt && git commit -qm first && git log --format=%s")).text


async def test_what_the_configuration_of_git_names_is_read_only(shell: ShellTool, root: Path) -> None:
    said = "[core]\n\thooksPath = sub\n[include]\n\tpath = ../more\n"
    (root / ".git/config").write_text((root / ".git/config").read_text() + said)
    (root / "more").touch()
    done = await result(shell, "echo x > sub/pre-commit; echo x > more; git -C sub status -s")
    assert done.text.count("Read-only file system") == 2


async def test_a_repository_of_any_name_is_one(shell: ShellTool, root: Path) -> None:
    (root / "b/hooks").mkdir(parents=True)
    for name in ("objects", "refs"):
        (root / "b" / name).mkdir()
    (root / "b/HEAD").touch()
    done = await result(shell, "echo x > b/hooks/x; mkdir -p n/objects n/refs; touch n/HEAD; echo x > n/config")
    assert "Read-only file system" in done.text
    assert "[Held back: n/config. " in done.text


async def test_no_number_of_other_files_comes_before_git(shell: ShellTool, root: Path) -> None:
    for number in range(201):
        (root / f".a{number}.code-workspace").touch()
    prepared = await shell.prepare("echo x")
    assert decide(prepared.effect, Policy("full-auto")).outcome == "ask"
    done = await result(shell, "echo x > .g''it/hooks/x")
    assert "Read-only file system" in done.text


async def test_a_link_to_what_was_not_there_is_told_of(shell: ShellTool, root: Path) -> None:
    os.symlink("later", root / ".envrc")
    assert "[It made .envrc, which" in (await result(shell, "echo x > later")).text


async def test_what_a_command_calls_a_repository_stays_where_it_is(shell: ShellTool, root: Path) -> None:
    (root / "sub/mine").touch()
    done = await result(shell, "mkdir x; echo gitdir: ../sub > x/.g''it")
    assert "[Held back: x/.git. " in done.text
    assert (root / "sub/mine").exists()


async def test_files_that_hide_what_is_deeper_hide_nothing(
    shell: ShellTool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk.look_through, "__kwdefaults__", {"limit": 50, "shut": None})
    done = await result(shell, "touch $(seq 60); mkdir deep; touch deep/.env''rc")
    assert "[Held back: deep/.envrc. " in done.text
    assert "too many files" in (await result(shell, "true")).text
