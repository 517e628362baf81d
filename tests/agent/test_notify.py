"""`notify`: what a program of the person's is told, where it runs, and that nothing waits for it."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent import notify
from gptoss_tui.agent.events import ApprovalRequest, TurnFinished, TurnStarted
from gptoss_tui.agent.factory import build_agent
from gptoss_tui.agent.notify import MAX_TEXT, Notifier
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import CONFIG_VARIABLE, Settings, load_settings
from tests.agent.helpers import ANSWER, CALL_PATCH, make_engine, run_turn

QUESTION = ApprovalRequest(
    item_id="1", tool="shell", kind="command", title="Run it", preview="it", preview_type="command", digest="d"
)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Writes its arguments and its folder into a file of a number, whole or not at all."""
    file = tmp_path / "program"
    file.write_text(
        f'#!/bin/sh\n{{ pwd; for word in "$@"; do printf "%s\\n" "$word"; done; }} > {tmp_path}/$$.part\n'
        f"mv {tmp_path}/$$.part {tmp_path}/$$.told\n"
    )
    file.chmod(0o755)
    return file


def told(folder: Path, count: int) -> list[list[str]]:
    """What the program was told, once it was told so often."""
    while len(files := sorted(folder.glob("*.told"), key=lambda file: file.stat().st_mtime_ns)) < count:
        time.sleep(0.01)
    return [file.read_text().splitlines() for file in files]


async def test_a_turn_tells_of_its_question_and_its_end(program: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    workspace.mkdir()
    settings = Settings(workspace=workspace, notify=(str(program), "--from", "it's me"))
    engine = make_engine(CALL_PATCH, ANSWER)
    agent = build_agent(settings, engine, load_tokenizer(), session_store=SessionStore(tmp_path / "s"))
    await run_turn(agent)
    found = told(tmp_path, 2)
    assert all(lines[:3] == [str(Path.home()), "--from", "it's me"] for lines in found), "not in the workspace"
    messages: dict[str, dict[str, Any]] = {one["type"]: one for one in (json.loads(lines[3]) for lines in found)}
    common = {"v": 1, "turn_id": "t1", "session": agent.session_id, "workspace": str(workspace)}
    assert messages["turn_finished"] == {
        **common,
        "type": "turn_finished",
        "reason": "done",
        "text": "I created hello.py.",
    }
    question = messages["approval_request"]
    assert (question["kind"], question["tool"], "hello.py" in question["text"]) == ("edit", "apply_patch", True)


def test_what_is_told_is_short_and_safe_for_a_terminal(program: Path, tmp_path: Path) -> None:
    notifier = Notifier((str(program),), tmp_path)
    notifier.hear(TurnStarted(text="hi", session=""), "")
    notifier.hear(TurnFinished(reason="failed", error="\x1b]0;x\x07\0" + "x" * 10_000_000), "")
    ((_, line),) = told(tmp_path, 1)
    text = json.loads(line)["text"]
    assert text.startswith("␛]0;x␇␀xxx")
    assert len(text) == MAX_TEXT


@pytest.mark.parametrize(
    ("command", "word"), [(("/bin/sh", "-c", "exit 3"), "ended with 3"), (("no-such-program",), "ended with")]
)
def test_a_program_that_fails_is_in_the_log_only(
    command: tuple[str, ...], word: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Notifier(command, tmp_path).hear(QUESTION, "")
        while word not in caplog.text:
            time.sleep(0.01)


def test_a_program_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify, "SECONDS", 1)
    with caplog.at_level(logging.WARNING):
        Notifier(("/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 1000"), tmp_path).hear(QUESTION, "")
        while "was ended after 1 s" not in caplog.text:
            time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)


def test_only_the_person_s_file_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    environ = {CONFIG_VARIABLE: str(file), "GPTOSS_TUI_NOTIFY": "evil"}
    file.write_text("")
    assert load_settings({"notify": None}, environ).notify == ()
    file.write_text('notify = ["notify-send", "gptoss-tui"]')
    assert load_settings({}, environ).notify == ("notify-send", "gptoss-tui")
    for wrong in ('"notify-send x"', "[1]", '[""]', '["a\\u0000"]'):
        file.write_text(f"notify = {wrong}")
        with pytest.raises(UsageError, match="notify must"):
            load_settings({}, environ)
