"""`gptoss-tui exec` as a script calls it, on the built-in model."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import PROGRAM

CREATE = "create hello.py that prints hello"
Exec = Callable[..., subprocess.CompletedProcess[str]]

# The order of docs/events.md, a word an event.
_SAID = r"(reasoning_delta )*reasoning_done |(answer_delta )*answer_done |(tool_call_delta )+"
_STEP = rf"(prompt_progress )*({_SAID})*step_finished "
_CALL = r"tool_call ((approval_request )?approval_resolved )?(tool_started (tool_output_delta )*)?tool_finished "
ORDER = re.compile(rf"turn_started ({_STEP}({_CALL})?)*turn_finished ")


@pytest.fixture
def run_exec(workspace: Path, environment: dict[str, str]) -> Exec:
    """Run `gptoss-tui exec` in the workspace to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, "exec", *arguments],
            cwd=workspace,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def test_a_file_that_prints_hello(run_exec: Exec, workspace: Path) -> None:
    done = run_exec("--approve", "edits", CREATE)
    assert done.returncode == 0
    assert "hello.py" in done.stdout
    assert "apply_patch hello.py" in done.stderr
    assert (workspace / "hello.py").read_bytes() == b'print("hello")\n'
    assert [path.name for path in workspace.iterdir()] == ["hello.py"]
    program = subprocess.run([sys.executable, "hello.py"], cwd=workspace, capture_output=True, text=True, check=True)
    assert program.stdout == "hello\n"


def test_without_an_approval_it_ends_with_3_and_writes_nothing(run_exec: Exec, workspace: Path) -> None:
    done = run_exec("--approve", "none", CREATE)
    assert (done.returncode, done.stdout) == (3, "")
    assert '+print("hello")' in done.stderr
    assert list(workspace.iterdir()) == []


def test_json_events_are_in_the_documented_order(run_exec: Exec) -> None:
    done = run_exec("--json", "--approve", "edits", CREATE)
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["v"] for event in events} == {1}
    assert ORDER.fullmatch("".join(f"{event['type']} " for event in events))
    for kind in ("reasoning", "answer"):
        whole = {event["item_id"]: event["text"] for event in events if event["type"] == f"{kind}_done"}
        parts = [(event["item_id"], event["text"]) for event in events if event["type"] == f"{kind}_delta"]
        assert whole == {item: "".join(text for of, text in parts if of == item) for item in whole}
    steps = [event for event in events if event["type"] == "step_finished"]
    assert len(steps) == 2
    assert steps[1]["cached_tokens"] >= steps[0]["prompt_tokens"], "the second step goes on from the first one's cache"
    assert all(step["prompt_tokens"] == step["cached_tokens"] + step["prefilled_tokens"] for step in steps)


def test_a_question_in_json_is_the_last_but_for_the_end(run_exec: Exec) -> None:
    done = run_exec("--json", CREATE)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    (request,) = [event for event in events if event["type"] == "approval_request"]
    assert request["paths"] == ["hello.py"]
    assert '+print("hello")' in request["preview"]
    assert not [event for event in events if event["type"] in ("tool_started", "turn_started")][1:]


def test_ctrl_c_ends_with_130_and_leaves_no_process(workspace: Path, environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [PROGRAM, "exec", "--json", CREATE],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert any(json.loads(line)["type"] == "reasoning_delta" for line in process.stdout)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    last = json.loads(out.splitlines()[-1])
    assert (last["type"], last["reason"]) == ("turn_finished", "interrupted")
    assert len(workers) == 1
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert list(workspace.iterdir()) == []
