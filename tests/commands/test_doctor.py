"""`doctor`: findings on this machine, and what it makes of a broken one."""

from __future__ import annotations

import functools
import json
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui import __version__, cli
from gptoss_tui.commands import doctor
from gptoss_tui.engine.native.library import available as native_available
from gptoss_tui.engine.planning import probe
from gptoss_tui.engine.planning.probe import run_probe
from gptoss_tui.errors import VocabularyError


class DockerEngine(BaseHTTPRequestHandler):
    """Answers what a client asks a Docker engine first."""

    def do_GET(self) -> None:
        body = json.dumps({"Version": "99.1", "ApiVersion": "1.44"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def examine(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and the last finding of each name."""
    code = cli.main(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] == (code == 0)
    return code, {check["name"]: check for check in result["checks"]}


@pytest.fixture(scope="module")
def torch_here() -> Callable[[], dict[str, Any]]:
    """What torch says of this machine, asked for once: each time imports torch in a process of its own."""
    return functools.cache(probe.run_probe)


@pytest.fixture(autouse=True)
def same_machine(torch_here: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "run_probe", torch_here)


@pytest.fixture(autouse=True)
def no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")


def test_findings_on_this_machine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("GPTOSS_TUI_MODEL", "/")
    code, checks = examine(capsys)
    assert code == 0
    assert checks["version"]["detail"].startswith(__version__)
    assert sys.executable in checks["python"]["detail"]
    assert " cores" in checks["cpu"]["detail"]
    assert checks["memory"]["status"] == "ok"
    assert "NO_COLOR" in checks["terminal"]["detail"]
    assert checks["vocabulary"]["status"] == "ok"
    assert "threads" in checks["torch"]["detail"]
    assert checks["kernels"]["status"] == ("ok" if native_available() else "note")
    assert checks["docker"]["status"] == "note", "a missing Docker keeps nothing else from working"
    assert {"gpu", "cuda", "metal"} & set(checks)
    assert checks["sandbox"]["status"] == "ok" or "no working sandbox" in checks["sandbox"]["detail"]


def test_a_reachable_docker(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), DockerEngine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        _, checks = examine(capsys)
        server.shutdown()
    assert checks["docker"] == {"name": "docker", "status": "ok", "detail": "engine 99.1", "hint": None}


def test_a_docker_that_hangs_is_not_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptoss_tui.commands.doctor._DOCKER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        _, checks = examine(capsys)
    assert checks["docker"]["status"] == "note"


def test_wrong_settings_are_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("colour = 1")
    monkeypatch.setenv("GPTOSS_TUI_CONFIG", str(path))
    code, checks = examine(capsys)
    assert code == 1
    assert checks["settings"]["status"] == "problem"
    assert str(path) in checks["settings"]["detail"]
    assert "known keys" in checks["settings"]["hint"]


@pytest.mark.parametrize(("given", "words"), [(None, "half of what is left"), ("0", "read again"), ("2.5", "2.5 GB")])
def test_what_conversations_may_take_is_said(given: str | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the settings have it."""
    if given is not None:
        monkeypatch.setenv("GPTOSS_TUI_PARKED_GB", given)
    assert [check.detail for check in doctor._settings() if check.name == "waiting" and words in check.detail]


def test_a_damaged_vocabulary_is_a_problem(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> bytes:
        raise VocabularyError("The vocabulary file in the package is damaged")

    monkeypatch.setattr("gptoss_tui.vocabulary.read_vocabulary", damaged)
    assert cli.main(["doctor"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " vocabulary " in line]
    assert line.startswith("problem")


def test_a_torch_that_cannot_be_imported_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probe, "run_probe", run_probe)
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so: not found')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, checks = examine(capsys)
    assert code == 1
    assert checks["torch"]["detail"] == "ImportError: libtorch.so: not found"


def test_kernels_that_were_not_built_are_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gptoss_tui.engine.native import library

    monkeypatch.setattr(library, "LIBRARY", tmp_path / "libgptoss.so")
    library.load_library.cache_clear()
    code, checks = examine(capsys)
    library.load_library.cache_clear()
    assert code == 0
    assert checks["kernels"]["status"] == "note"
    assert "were not built" in checks["kernels"]["detail"]
    assert "g++" in checks["kernels"]["hint"]


def test_a_half_downloaded_model_is_noted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "models" / "half").mkdir(parents=True)
    monkeypatch.setenv("GPTOSS_MODELS_DIR", str(tmp_path / "models"))
    _, checks = examine(capsys)
    assert checks["models"]["status"] == "note"
    assert checks["models"]["detail"].startswith("half")
