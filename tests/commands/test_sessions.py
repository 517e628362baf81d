"""`sessions` and going on with one in `exec`: real files, made by real turns on a scripted engine."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui import cli
from gptoss_tui.agent.session import DIRECTORY_VARIABLE, load_session, open_session
from gptoss_tui.commands import loading
from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, make_engine
from tests.agent.scripted_engine import ScriptedEngine

Run = Callable[..., tuple[int, str, str]]
HOSTILE = "<|channel|>final<|message|>\x1b]0;owned\x07 <script>alert(1)</script><|return|>"


@pytest.fixture
def engines() -> list[ScriptedEngine]:
    """The engines of the runs so far."""
    return []


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engines: list[ScriptedEngine]
) -> Run:
    """Run `gptoss-tui ARGUMENTS` in `tmp_path/work`; `exec` plays `transcripts`."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "sessions"))
    monkeypatch.setenv("GPTOSS_TUI_UNDO", str(tmp_path / "undo"))
    monkeypatch.setenv("GPTOSS_TUI_MODEL", str(tmp_path))

    def invoke(*arguments: str, transcripts: tuple[str, ...] = ()) -> tuple[int, str, str]:
        @asynccontextmanager
        async def scripted(spec: Any) -> AsyncIterator[tuple[Any, Any]]:
            engines.append(make_engine(*transcripts))
            yield engines[-1], await engines[-1].info()

        monkeypatch.setattr(loading, "loaded_engine", scripted)
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


def only_session(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "sessions").iterdir()
    return path


def test_a_conversation_goes_on_where_it_stopped(run: Run, tmp_path: Path, engines: list[ScriptedEngine]) -> None:
    assert run("exec", "--approve", "edits", "create hello.py", transcripts=(CALL_PATCH, ANSWER))[0] == 0
    code, out, err = run("exec", "--continue", "and now?", transcripts=(ANSWER,))
    assert (code, out, err) == (0, "I created hello.py.\n", "")
    prompt = load_tokenizer().decode(engines[1].requests[0].prompt)
    assert "create hello.py" in prompt
    assert prompt.endswith("<|start|>user<|message|>and now?<|end|><|start|>assistant")
    path = only_session(tmp_path)
    code, out, _ = run("exec", "--json", "--resume", path.stem[:18], "third", transcripts=(ANSWER,))
    first = json.loads(out.splitlines()[0])
    assert (first["turn_id"], first["session"]) == ("t3", path.stem)
    assert load_session(path).notices == ()


def test_a_fork_leaves_the_first_one_alone(run: Run, tmp_path: Path) -> None:
    run("exec", "one", transcripts=(ANSWER,))
    path = only_session(tmp_path)
    before = path.read_bytes()
    assert run("exec", "--continue", "--fork", "two", transcripts=(ANSWER,))[0] == 0
    assert path.read_bytes() == before
    assert len(list((tmp_path / "sessions").iterdir())) == 2
    _, out, _ = run("sessions", "list")
    assert [line.split("  ")[-1] for line in out.splitlines()] == ["one", "one"]
    assert ["2 turns" in line for line in out.splitlines()] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--continue", "hi"), "No conversation of this folder is saved"),
        (("--resume", "nope", "hi"), "There is no conversation 'nope'"),
        (("--fork", "hi"), "--fork needs a conversation"),
    ],
)
def test_what_is_not_there_is_bad_usage_and_loads_nothing(
    run: Run, engines: list[ScriptedEngine], arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = run("exec", *arguments, transcripts=(ANSWER,))
    assert (code, out) == (2, "")
    assert says in err
    assert engines == []


def test_a_session_that_is_open_elsewhere_is_not_written_to(run: Run, tmp_path: Path) -> None:
    run("exec", "one", transcripts=(ANSWER,))
    path = only_session(tmp_path)
    file = open_session(path)
    code, _, err = run("exec", "--continue", "two", transcripts=(ANSWER,))
    assert code == 1
    assert "open in another window" in err
    assert run("sessions", "delete", path.stem)[0] == 1
    file.close()
    assert run("exec", "--continue", "two", transcripts=(ANSWER,))[0] == 0


def test_list_is_of_this_folder_or_of_all(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("sessions", "list")
    assert (code, out) == (0, "")
    assert "no saved conversation" in err
    run("exec", "create\n\x1b[31mhello.py", transcripts=(ANSWER,))
    path = only_session(tmp_path)
    _, out, _ = run("sessions", "list")
    assert out.split() == [path.stem, *out.split()[1:3], "1", "turn", "create"]
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert run("sessions", "list")[1] == ""
    assert f"({tmp_path / 'work'})" in run("sessions", "list", "--all")[1]
    found = json.loads(run("sessions", "list", "-C", str(tmp_path / "work"), "--json")[1])
    assert (found["id"], found["turns"], found["title"], found["path"]) == (path.stem, 1, "create", str(path))


def test_without_an_action_it_lists_and_says_what_can_be_done(run: Run) -> None:
    code, out, err = run("sessions")
    assert (code, out) == (0, "")
    assert "no saved conversation of this folder; `gptoss-tui sessions list --all`" in err
    assert "--resume" not in err
    run("exec", "one", transcripts=(ANSWER,))
    code, out, err = run("sessions")
    assert (code, out) == (0, run("sessions", "list")[1])
    assert "one" in out
    assert "gptoss-tui --resume ID" in err


def test_a_file_that_is_no_session_is_passed_by(run: Run, tmp_path: Path) -> None:
    run("exec", "one", transcripts=(ANSWER,))
    for name, data in (("x.jsonl", b""), ("y.jsonl", b"\xff\x00\n{}\n"), ("notes.txt", b"hi")):
        (tmp_path / "sessions" / name).write_bytes(data)
    code, out, _ = run("sessions", "list", "--all")
    assert (code, len(out.splitlines())) == (0, 1)


def test_show_prints_what_counts_and_nothing_that_moves_the_terminal(run: Run, tmp_path: Path) -> None:
    run("exec", "--approve", "edits", "create hello.py", transcripts=(CALL_PATCH, ANSWER))
    run("exec", "--continue", "again", transcripts=(HOSTILE,))
    code, out, _ = run("sessions", "show", "last")
    assert code == 0
    for part in ("# create hello.py", "I add the file.", "apply_patch hello.py", "I created hello.py.", "again"):
        assert part in out
    assert "\x1b" not in out
    assert "\x07" not in out
    code, out, _ = run("sessions", "show", "last", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["type"] for event in events].count("turn_started") == 2
    assert events == [dict(event) for event in load_session(only_session(tmp_path)).events]


@pytest.mark.parametrize("format_name", ["markdown", "json", "html"])
def test_export_writes_a_document_that_only_its_owner_can_read(run: Run, tmp_path: Path, format_name: str) -> None:
    run("exec", "one", transcripts=(HOSTILE,))
    target = tmp_path / "out"
    code, out, err = run("sessions", "export", "last", "--format", format_name, "-o", str(target))
    assert (code, out) == (0, "")
    assert str(target) in err
    text = target.read_text()
    assert "one" in text
    assert ("<script>" in text) == (format_name != "html")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert run("sessions", "export", "last", "--format", format_name)[1] == text
    code, _, err = run("sessions", "export", "last", "-o", str(target))
    assert code == 1
    assert "already exists" in err
    assert target.read_text() == text


def test_a_cut_session_is_shown_with_a_note(run: Run, tmp_path: Path) -> None:
    run("exec", "one", transcripts=(ANSWER,))
    path = only_session(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    code, out, err = run("sessions", "show", "last")
    assert code == 0
    assert "I created hello.py." in out
    assert "was cut off and is left out" in err


def test_delete_names_what_it_deletes(run: Run, tmp_path: Path) -> None:
    for _ in range(2):
        run("exec", "one", transcripts=(ANSWER,))
    first, second = sorted((tmp_path / "sessions").iterdir())
    code, _, err = run("sessions", "delete", "last")
    assert code == 2
    assert "give the id" in err
    code, out, _ = run("sessions", "delete", first.stem, first.stem)
    assert (code, out) == (0, f"Deleted {first.stem}\n")
    assert list((tmp_path / "sessions").iterdir()) == [second]
    assert run("sessions", "delete", first.stem)[0] == 2
