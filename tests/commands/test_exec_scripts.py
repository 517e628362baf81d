"""What scripts rely on: the answer in a file, a turn that goes on without what is denied, nothing saved."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss_tui.agent.session import DIRECTORY_VARIABLE
from tests.agent.helpers import ANSWER, CALL_PATCH, THINK, call
from tests.commands.test_exec import CITED, CITING, OPEN, SEARCH, folder, run_exec

__all__ = ["folder", "run_exec"]

Exec = Callable[..., tuple[int, str, str]]


def test_the_answer_goes_into_a_file_too(run_exec: Exec, tmp_path: Path) -> None:
    file = tmp_path / "answer.md"
    code, out, _ = run_exec((CALL_PATCH, ANSWER), "--json", "-o", str(file), "--approve", "edits", "create hello.py")
    assert (code, json.loads(out.splitlines()[-1])["type"]) == (0, "turn_finished")
    assert file.read_text() == "I created hello.py.\n"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["answer.md"]


def test_a_file_that_is_a_link_stays_one_and_keeps_its_mode(run_exec: Exec, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    assert run_exec((ANSWER,), "--output-last-message", str(tmp_path / "link"), "hi")[0] == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "I created hello.py.\n"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ((CALL_PATCH, ANSWER), (), 3),
        (("<|channel|>final<|message|>" + "word " * 50,), ("--max-tokens", "20"), 1),
    ],
)
def test_without_a_whole_answer_the_file_stays_as_it_was(
    run_exec: Exec, tmp_path: Path, script: tuple[str, ...], arguments: tuple[str, ...], expected: int
) -> None:
    file = tmp_path / "answer.md"
    file.write_text("of last time")
    assert run_exec(script, "-o", str(file), *arguments, "hi")[0] == expected
    assert file.read_text() == "of last time"


def test_the_file_has_what_a_pipe_would_get(run_exec: Exec, tmp_path: Path, folder: Path) -> None:
    file = tmp_path / "answer.md"
    code, out, _ = run_exec((SEARCH, OPEN, CITING), "--browser", "-o", str(file), "how much is it?")
    assert (code, out, file.read_text()) == (0, CITED, CITED)


def test_a_pipe_is_written_to_and_not_replaced(run_exec: Exec, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as pipe:
        assert run_exec((ANSWER,), "-o", f"/dev/fd/{writing}", "hi")[0] == 0
        os.close(writing)
        assert pipe.read() == "I created hello.py.\n"


@pytest.mark.parametrize(("name", "word"), [(".", "is a folder"), ("nowhere/answer.md", "does not exist")])
def test_a_file_that_cannot_be_is_told_before_anything_runs(
    run_exec: Exec, tmp_path: Path, name: str, word: str
) -> None:
    code, out, err = run_exec((), "-o", str(tmp_path / name), "hi")
    assert (code, out) == (2, "")
    assert word in err


def test_a_disk_that_refuses_the_answer_is_a_failure(run_exec: Exec) -> None:
    code, out, err = run_exec((ANSWER,), "-o", "/dev/full", "hi")
    assert (code, out) == (1, "I created hello.py.\n")
    assert "/dev/full cannot be written: No space left on device" in err


def test_what_is_denied_lets_the_model_go_on(run_exec: Exec, tmp_path: Path) -> None:
    code, out, err = run_exec((CALL_PATCH, ANSWER), "--deny", "create hello.py")
    assert (code, out) == (0, "I created hello.py.\n")
    assert not (tmp_path / "work" / "hello.py").exists()
    assert "This needs an approval and was not done" in err
    assert "  denied: The user did not allow this call. Nobody is here to be asked. Go on without it." in err


def test_denying_takes_nothing_from_what_is_approved(run_exec: Exec, tmp_path: Path) -> None:
    assert run_exec((CALL_PATCH, ANSWER), "--deny", "--approve", "edits", "create hello.py")[0] == 0
    assert (tmp_path / "work" / "hello.py").exists()


def test_an_ephemeral_conversation_is_not_saved(run_exec: Exec, tmp_path: Path) -> None:
    code, out, _ = run_exec((ANSWER,), "--json", "--ephemeral", "hi")
    assert (code, json.loads(out.splitlines()[0])["session"]) == (0, "")
    assert not Path(os.environ[DIRECTORY_VARIABLE]).exists()
    assert run_exec((ANSWER,), "hi")[0] == 0
    code, _, err = run_exec((), "--ephemeral", "--continue", "hi")
    assert (code, "--ephemeral cannot be combined" in err) == (2, True)


def test_a_turn_ends_with_its_last_tool_call(run_exec: Exec) -> None:
    look = call("list_files", "{}", THINK)
    code, _, err = run_exec((look, look), "--max-tool-calls", "1", "look around")
    assert (code, err.count("* list_files")) == (1, 2)
    assert "The turn has reached its limit of tool calls (1)" in err


def test_a_saved_prompt_of_the_person_is_expanded(
    run_exec: Exec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTOSS_TUI_CONFIG", str(tmp_path / "settings" / "config.toml"))
    (tmp_path / "settings" / "prompts").mkdir(parents=True)
    (tmp_path / "settings" / "config.toml").touch()
    (tmp_path / "settings" / "prompts" / "look.md").write_text("Look at $1.")
    code, out, err = run_exec((ANSWER,), "--json", "/look src")
    assert (code, json.loads(out.splitlines()[0])["text"], err) == (0, "Look at src.", "")


def test_a_saved_prompt_of_the_project_is_shown(run_exec: Exec, tmp_path: Path) -> None:
    file = tmp_path / "work" / ".agents" / "commands" / "look.md"
    file.parent.mkdir(parents=True)
    file.write_text("Look at $1.\x1b[2J")
    code, out, err = run_exec((ANSWER,), "--json", "/look src")
    assert (code, json.loads(out.splitlines()[0])["text"]) == (0, "Look at src.␛[2J")
    assert err == "note: /look is the project's (.agents/commands/look.md):\n  Look at $1.␛[2J\n"


def test_a_command_that_there_is_not_is_bad_usage_and_a_path_is_a_message(run_exec: Exec) -> None:
    code, out, err = run_exec((), "/loook src")
    assert (code, out) == (2, "")
    assert "There is no prompt /loook" in err
    for text in (" /loook src", "/etc/hosts is what?"):
        assert json.loads(run_exec((ANSWER,), "--json", text)[1].splitlines()[0])["text"] == text


def test_the_skills_that_the_model_knows_are_named(run_exec: Exec, tmp_path: Path) -> None:
    for name, more in (("review", ""), ("deploy", "disable-model-invocation: true\n")):
        file = tmp_path / "work" / ".agents" / "skills" / name / "SKILL.md"
        file.parent.mkdir(parents=True)
        file.write_text(f"---\nname: {name}\ndescription: Does it.\n{more}---\n")
    assert run_exec((ANSWER,), "--json", "why?")[2] == "note: knows the skills review (--no-skills: none)\n"
    assert run_exec((ANSWER,), "--json", "--no-skills", "why?")[2] == ""
