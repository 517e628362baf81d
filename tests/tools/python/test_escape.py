"""The escape corpus in each real sandbox; outside, as the control, it must bite."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.tools.python.choose import choose_sandbox
from gptoss_tui.tools.python.interpreter import Interpreter
from gptoss_tui.tools.python.sandbox import Limits, Sandbox
from tests.tools.python.conftest import IMAGE, ignore
from tests.tools.python.escapes import Canaries, corpus

MIN_ATTEMPTS = 140
MIN_BITES = 60 if os.geteuid() == 0 else 40


@pytest.fixture
def listeners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Canaries, list[socket.socket]]]:
    """Canaries, and the sockets that must not get a connection."""
    secret = "canary-" + os.urandom(8).hex()
    monkeypatch.setenv("GPTOSS_TUI_CANARY", secret)
    file = tmp_path / "canary"
    file.write_text(secret)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{secret}")
        unix.listen()
        for listener in (tcp, unix):
            listener.setblocking(False)
        known = ("/var/run/docker.sock", "/run/dbus/system_bus_socket", os.environ.get("SSH_AUTH_SOCK", "/tmp/agent"))
        docker = os.environ.get("DOCKER_HOST", "").removeprefix("unix://")
        port = tcp.getsockname()[1]
        sockets = (*known, docker) if docker.startswith("/") else known
        yield Canaries(str(file), secret, os.getpid(), port, secret, sockets), [tcp, unix]
    assert file.read_text() == secret


def connections(listeners: list[socket.socket]) -> int:
    count = 0
    for listener in listeners:
        try:
            listener.accept()[0].close()
            count += 1
        except BlockingIOError:
            pass
    return count


async def test_nothing_gets_out(sandbox: Sandbox, listeners: tuple[Canaries, list[socket.socket]]) -> None:
    interpreter = await Interpreter.start(sandbox, Limits(seconds=60.0))
    outcome = await interpreter.run(corpus(listeners[0], control=False), ignore)
    await interpreter.end()
    *escapes, last = outcome.text.splitlines()
    assert not escapes
    assert outcome.ending == "ok"
    assert int(last.split()[0]) >= MIN_ATTEMPTS
    assert connections(listeners[1]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the corpus is about Linux")
def test_the_corpus_bites_where_there_is_no_sandbox(listeners: tuple[Canaries, list[socket.socket]]) -> None:
    code = corpus(listeners[0], control=True)
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *escapes, _ = done.stdout.splitlines()
    assert len(escapes) >= MIN_BITES
    assert connections(listeners[1]) == 2


async def test_what_was_chosen_is_what_runs() -> None:
    """The choice ends in a sandbox or in a refusal, never in a plain process."""
    if sys.platform == "linux" and os.geteuid() == 0:
        assert (await choose_sandbox("bubblewrap", IMAGE)).name == "bubblewrap"
