"""The person's own commands: their rights and environment, and an end when they want it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gptoss_tui.agent.policy.decide import Policy, decide
from gptoss_tui.errors import UsageError
from gptoss_tui.tools.shell.process import Limits
from gptoss_tui.tools.shell.user import run_for_user, user_effect
from tests.processes import running, until


def ignore(text: str) -> None:
    """Takes output that nobody looks at."""


async def test_it_runs_where_and_as_the_person_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_PERSON", "mine")
    pieces: list[str] = []
    done = await run_for_user("pwd; echo $OF_THE_PERSON; id -u; touch made", tmp_path, pieces.append)
    assert done.text == "".join(pieces) == f"{tmp_path}\nmine\n{os.getuid()}\n"
    assert (done.ending, done.code) == ("exit", 0)
    assert (tmp_path / "made").exists()


async def test_a_timeout_ends_the_group_even_when_it_will_not_hear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptoss_tui.tools.shell.process._TERM_SECONDS", 0.2)
    mark = f"86404.{os.getpid()}"
    done = await run_for_user(f"trap '' TERM; sleep {mark} & sleep 60", tmp_path, ignore, Limits(seconds=0.5))
    assert (done.ending, done.code) == ("timeout", None)
    await until(lambda: not running("sleep", mark))


async def test_what_stays_behind_does_not_hold_the_answer(tmp_path: Path) -> None:
    mark = f"86405.{os.getpid()}"
    done = await run_for_user(f"sleep {mark} & echo done", tmp_path, ignore)
    assert done.text == "done\n"
    await until(lambda: not running("sleep", mark))


async def test_cancelling_ends_it(tmp_path: Path) -> None:
    mark = f"86406.{os.getpid()}"
    up = asyncio.Event()
    task = asyncio.create_task(run_for_user(f"echo up; sleep {mark} & wait", tmp_path, lambda text: up.set()))
    await up.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not running("sleep", mark))


@pytest.mark.parametrize("command", ["", "  ", "a\0b"])
async def test_nothing_is_no_command(tmp_path: Path, command: str) -> None:
    with pytest.raises(UsageError):
        await run_for_user(command, tmp_path, ignore)


def test_the_policy_reads_the_words_of_a_typed_command() -> None:
    effect = user_effect("git status; timeout 5 rm -r build", Path("/work"))
    assert effect.commands == (("git", "status"), ("rm", "-r", "build"))
    assert decide(effect, Policy("read-only")).outcome == "deny"
    assert decide(effect, Policy("ask")).outcome == "ask"
    assert decide(effect, Policy("full-auto")).outcome == "allow"
    assert decide(user_effect("rm $X", Path("/work")), Policy("full-auto")).outcome == "ask", "it has no words"


def test_an_answer_is_bound_to_the_command_and_its_folder() -> None:
    digests = {user_effect(*call).digest for call in (("a", Path("/x")), ("b", Path("/x")), ("a", Path("/y")))}
    assert len(digests) == 3
