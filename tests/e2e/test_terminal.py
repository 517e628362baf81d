"""What a terminal does to a program: signals, odd input, other colours, sizes that change all the time, its end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from threading import Event

import psutil
import pytest

from gptoss_tui.tui.theme import DARK, LIGHT
from tests.e2e.conftest import OpenApp
from tests.e2e.test_app import CREATE, quit_and_look_behind, send
from tests.engine.hub import Hub, serve

pytestmark = pytest.mark.slow


def all_events(environment: dict[str, str]) -> list[dict[str, object]]:
    """The events of every session that was saved."""
    files = Path(environment["HOME"]).rglob("sessions/**/*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them end soon."""
    return psutil.wait_procs(processes, timeout=20)[1] == []


def test_a_signal_to_end_saves_what_was_said_and_leaves_no_process(
    open_app: OpenApp, environment: dict[str, str]
) -> None:
    terminal = open_app()
    send(terminal, CREATE)
    terminal.wait_for("y allow once")
    workers = terminal.workers()
    terminal.signal(signal.SIGTERM)
    assert terminal.wait_for_end() == 128 + signal.SIGTERM
    assert gone(workers)
    said = [event.get("type") for event in all_events(environment)]
    assert "turn_started" in said
    assert "turn_finished" in said


def test_a_window_that_is_closed_ends_the_program(open_app: OpenApp, environment: dict[str, str]) -> None:
    terminal = open_app()
    send(terminal, CREATE)
    terminal.wait_for("y allow once")
    workers = terminal.workers()
    program = terminal.hang_up()
    assert gone([program, *workers])
    assert "turn_finished" in [event.get("type") for event in all_events(environment)]


def test_suspended_and_continued_the_whole_screen_is_back(open_app: OpenApp) -> None:
    terminal = open_app()
    terminal.wait_for("● nano ")
    terminal.wait_for("● ready")
    terminal.watch(1)
    before = terminal.text
    terminal.signal(signal.SIGTSTP)
    terminal.wait_for(lambda _: terminal.state() == psutil.STATUS_STOPPED)
    terminal.watch(0.5)
    terminal.blank()
    terminal.signal(signal.SIGCONT)
    terminal.wait_for("Enter send")
    terminal.watch(1)
    assert terminal.text == before
    terminal.type("still here")
    terminal.wait_for("│ still here")
    quit_and_look_behind(terminal)


def test_input_that_is_no_key_changes_nothing(open_app: OpenApp) -> None:
    terminal = open_app()
    terminal.wait_for("● ready")
    odd = [
        "\x1b[<NaN;NaN;NaNM",
        "\x1b[<0;99999999999;5M",
        "\x1b[<35;-4;7M",
        "\x1b[99999999999u",
        "\x1b[55296u",
        "\x1b[48;0;0;0;0t",
        "\x1b[?62;22c",
        "\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
        "\x1bP>|XTerm(388)\x1b\\",
        "\x1b_Gi=31;OK\x1b\\",
    ]
    for sequence in odd:
        terminal.type(sequence)
        terminal.watch(0.05)
    terminal.type("typed")
    terminal.wait_for("│ typed ")
    quit_and_look_behind(terminal)


def test_colours_follow_the_terminal(open_app: OpenApp) -> None:
    terminal = open_app()
    terminal.wait_for("● ready")
    assert f"#{terminal.background}" == DARK.background
    terminal.type("\x1b]11;rgb:fafa/f8f8/f0f0\x07")
    terminal.wait_for(lambda _: f"#{terminal.background}" == LIGHT.background)
    quit_and_look_behind(terminal)


def test_a_storm_of_sizes_ends_at_the_last_one(open_app: OpenApp) -> None:
    terminal = open_app()
    terminal.wait_for("● ready")
    for step in range(40):
        terminal.resize(30 + step * 3 % 100, 8 + step % 30)
    terminal.resize(40, 14)
    terminal.wait_for("● ready  ·  nano")
    terminal.resize(100, 30)
    terminal.wait_for("nano on native cpu")
    terminal.wait_for("what can you do?")
    quit_and_look_behind(terminal)


def test_variables_of_a_size_and_a_redirected_stderr_do_not_matter(
    open_app: OpenApp, environment: dict[str, str], workspace: Path
) -> None:
    environment |= {"COLUMNS": "50", "LINES": "10"}
    terminal = open_app(size=(100, 30), stderr="errors.txt")
    terminal.wait_for("nano on native cpu")
    assert [len(line) for line in terminal.text.splitlines() if line.startswith("╭")] == [100]
    terminal.type("!echo $COLUMNS\r")
    terminal.wait_for("y allow once")
    terminal.watch(1)
    terminal.type("y")
    terminal.wait_for(lambda text: "50" in [line.strip(" ▎") for line in text.splitlines()])
    quit_and_look_behind(terminal)
    assert (workspace / "errors.txt").read_text() == ""


def test_nothing_wakes_an_app_that_nobody_touches(open_app: OpenApp) -> None:
    terminal = open_app()
    terminal.wait_for("nano on native cpu")
    terminal.type("\x1b[O")  # the window lost the focus, so that no cursor blinks
    for _ in range(30):
        before = terminal.wakeups
        terminal.watch(1)
        if terminal.wakeups == before:
            break
    assert terminal.wakeups == before
    terminal.type("\x1b[Itouched")
    terminal.wait_for("│ touched ")
    quit_and_look_behind(terminal)


def test_leaving_waits_for_no_server(open_app: OpenApp, environment: dict[str, str], tmp_path: Path) -> None:
    silent = Hub("openai/gpt-oss-20b", {"original/model.safetensors": b"x" * 9000}, cut_after=10, stalled=Event())
    with serve(silent) as hub:
        environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "GPTOSS_MODELS_DIR": str(tmp_path / "models")}
        terminal = open_app()
        send(terminal, "/model gpt-oss-20b")
        terminal.wait_for("nothing came for")
        quit_and_look_behind(terminal)
        assert silent.stalled is not None
        silent.stalled.set()


def test_the_title_says_what_happens(open_app: OpenApp) -> None:
    terminal = open_app()
    terminal.wait_for(lambda _: terminal.title == "gptoss-tui project")
    send(terminal, CREATE)
    terminal.wait_for(lambda _: terminal.title == "? gptoss-tui project")
    terminal.watch(0.7)
    terminal.type("n")
    terminal.wait_for(lambda _: terminal.title == "gptoss-tui project")
    quit_and_look_behind(terminal)
