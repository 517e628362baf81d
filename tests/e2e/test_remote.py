"""nano behind `gptoss-tui serve`, used by another `gptoss-tui` as its engine: two real programs and a socket."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.cli import main
from gptoss_tui.commands import doctor
from tests.e2e.conftest import PROGRAM

KEY = "a-key-for-the-test"
PROMPT = "create hello.py that prints hello"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a server that wants a key, and the environment of its user."""
    home = tmp_path_factory.mktemp("server")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GPTOSS_TUI_", "XDG_"))}
    environment = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [PROGRAM, "serve", "--model", "nano", "--port", "0", "--no-store", "--quiet", "--context", "4096"],
        env=environment | {"GPTOSS_TUI_API_KEY": KEY},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+/v1", process.stdout.readline())
        assert found is not None
        yield found[0], environment | {"GPTOSS_TUI_REMOTE_API_KEY": KEY}
    finally:
        process.terminate()
        process.communicate(timeout=30)


def run(environment: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_tokens_are_those_of_the_model_on_this_machine(server: tuple[str, dict[str, str]], workspace: Path) -> None:
    url, environment = server
    asked = ("generate", "--json", "--temperature", "0", "--max-tokens", "24", "Say 🦙 and naïve:")
    remote = run(environment, workspace, *asked, "--model", url)
    local = run(environment, workspace, *asked, "--model", "nano")
    assert remote.returncode == 0, remote.stderr
    ids = [[json.loads(line)["id"] for line in done.stdout.splitlines()] for done in (remote, local)]
    assert len(ids[0]) == 24
    assert ids[0] == ids[1]


def test_scores_are_those_of_the_model_on_this_machine(server: tuple[str, dict[str, str]], workspace: Path) -> None:
    url, environment = server
    (workspace / "tokens.json").write_text("[200006, 1428, 200008, 12194, 200007]")
    asked = ("score", "--json", "--tokens", "tokens.json")
    remote, local = (
        json.loads(run(environment, workspace, *asked, "--model", model).stdout)["positions"] for model in (url, "nano")
    )
    assert [position["next"] for position in remote] == [1428, 200008, 12194, 200007, None]
    for one, other in zip(remote, local, strict=True):
        assert one["logprob"] == pytest.approx(other["logprob"], abs=0.05)
        assert one["top"][0][0] == other["top"][0][0]


def test_a_turn_with_a_patch(server: tuple[str, dict[str, str]], workspace: Path) -> None:
    url, environment = server
    done = run(environment, workspace, "exec", "--json", "--approve", "edits", "--model", f"{url}#nano", PROMPT)
    assert done.returncode == 0, done.stderr
    assert (workspace / "hello.py").read_text() == 'print("hello")\n'
    steps = [event for event in map(json.loads, done.stdout.splitlines()) if event["type"] == "step_finished"]
    assert len(steps) == 2
    assert steps[1]["cached_tokens"] > steps[0]["prompt_tokens"] // 2, "the server knows what it read a step before"
    assert KEY not in done.stdout + done.stderr


def test_models_info_says_what_is_there(server: tuple[str, dict[str, str]], workspace: Path) -> None:
    url, environment = server
    facts = json.loads(run(environment, workspace, "models", "info", "--json", url).stdout)
    assert facts.items() >= {"server": "gptoss-tui", "model": "nano", "context": 4096, "key": True}.items()


def test_bench_measures_it_without_a_floor(server: tuple[str, dict[str, str]], workspace: Path) -> None:
    url, environment = server
    done = run(environment, workspace, "bench", "--json", "--prompt-tokens", "16", "--max-tokens", "4", "--model", url)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["model"]["model"], report["torch"]) == ("nano", {})
    assert [(row["prompt_tokens"], row["generated_tokens"], row["floor_bytes"]) for row in report["runs"]] == [
        (16, 4, None)
    ]


def test_doctor_and_models_name_the_server_of_the_settings(
    server: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = server
    monkeypatch.setenv("GPTOSS_TUI_MODEL", url)
    monkeypatch.setattr("gptoss_tui.engine.remote.client.take_key", lambda: KEY)
    (check,) = doctor.examine_server()
    assert check.status == "ok"
    assert check.detail.startswith("nano on gptoss-tui, 4096 tokens of context, prompts sent as token ids")
    assert main(["models", "list"]) == 0
    assert url in capsys.readouterr().out
    monkeypatch.setenv("GPTOSS_TUI_MODEL", "http://me:hunter2@host/v1")
    assert main(["models", "list"]) == 0
    assert "hunter2" not in capsys.readouterr().out
