"""A Docker engine that dies, freezes, is full or forgets the image: an error that says so, and nothing is left behind.

Each test has an engine of its own, which needs root; one that may not be asked needs somebody else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.tools.python.choose import find_tested_docker
from gptoss_tui.tools.python.docker_engine import Docker, _end, find_docker, remove_leftovers
from gptoss_tui.tools.python.interpreter import Interpreter, Outcome
from gptoss_tui.tools.python.sandbox import Limits, SandboxError
from tests.sandboxes import missing
from tests.tools.python.conftest import ignore
from tests.tools.python.engine import TAG, Engine, fill

pytestmark = pytest.mark.slow

DEADLINE = 60.0
"""Seconds that fail a test which hangs; the engine's own deadlines are shorter."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("dockerd", path="/usr/sbin:/usr/bin"):
        if sys.platform == "linux" and os.geteuid() == 0:
            missing("there is no dockerd", "docker")
        pytest.skip("an engine of one's own needs root and dockerd")
    folder = Path("/var/tmp") / f"gptoss-tui-{os.getpid()}-{tmp_path.name}"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/docker.sock")
    return folder


@pytest.fixture
def engine(place: Path) -> Iterator[Engine]:
    engine = Engine(place)
    yield engine
    engine.stop()


async def started() -> Interpreter:
    return await Interpreter.start(await find_docker(TAG), Limits(seconds=60.0))


async def running(interpreter: Interpreter, code: str) -> asyncio.Task[Outcome]:
    """Code that runs: it has printed something."""
    began = asyncio.Event()
    task = asyncio.create_task(interpreter.run(f"print('up', flush=True)\n{code}", lambda text: began.set()))
    await began.wait()
    return task


async def test_an_engine_that_is_killed_ends_the_call_and_leaves_nothing_after_the_next_start(engine: Engine) -> None:
    await engine.ready()
    interpreter, idle, sandbox = await started(), await started(), await find_docker(TAG)
    task = await running(interpreter, "import time\nwhile True: time.sleep(1)")
    engine.process.kill()
    engine.process.wait()
    async with asyncio.timeout(DEADLINE):
        outcome = await task
        assert (outcome.ending, outcome.alive) == ("died", False)
        await idle.end()
        with pytest.raises(SandboxError, match="Docker does not start the container"):
            await sandbox.start(Limits())
        with pytest.raises(SandboxError, match="the engine does not answer"):
            await find_docker(TAG)
    engine.restart()
    await engine.ready(with_image=False)
    client = (await find_docker(TAG)).client
    for container in await asyncio.to_thread(client.containers.list, all=True, ignore_removed=True):
        # This process lives; what it left is cleared away when it does not any more.
        assert container.labels["gptoss-tui.pid"] == str(os.getpid())
        await asyncio.to_thread(container.remove, force=True)
    assert await asyncio.to_thread(remove_leftovers, client) == 0
    again = await started()
    assert (await again.run("6 * 7", ignore)).text == "42\n"
    await again.end()


def freeze(engine: Engine) -> None:
    """Stop it, and wait until all its threads have: on a busy machine one of them answers for a while."""
    engine.process.send_signal(signal.SIGSTOP)
    threads = Path(f"/proc/{engine.process.pid}/task")
    while any("\nState:\tT" not in (thread / "status").read_text() for thread in threads.iterdir()):
        time.sleep(0.01)


async def test_an_engine_that_freezes_is_an_error_in_time(engine: Engine) -> None:
    await engine.ready()
    sandbox = await find_docker(TAG)
    interpreter = await Interpreter.start(sandbox, Limits(seconds=2.0))
    idle = await started()
    freeze(engine)
    async with asyncio.timeout(DEADLINE):
        outcome = await interpreter.run("6 * 7", ignore)
        assert (outcome.ending, outcome.alive) == ("timeout", False)
        await idle.end()
        with pytest.raises(SandboxError, match="the engine does not answer"):
            await find_docker(TAG)
        with pytest.raises(SandboxError, match="the engine does not answer"):
            await sandbox.start(Limits())
    engine.process.send_signal(signal.SIGCONT)


async def test_a_start_that_the_end_of_the_program_cancelled_leaves_nothing_to_take_away() -> None:
    starting = asyncio.get_running_loop().create_future()
    starting.add_done_callback(_end)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, fault: faults.append(fault))
    starting.cancel()
    await asyncio.sleep(0)
    assert faults == []


async def test_a_socket_that_is_gone_and_an_image_that_is_gone(engine: Engine) -> None:
    await engine.ready()
    sandbox = await find_tested_docker(TAG)
    assert isinstance(sandbox, Docker)
    await asyncio.to_thread(sandbox.client.images.remove, TAG, force=True)
    with pytest.raises(SandboxError, match=f"the image {TAG} does not exist"):
        await find_docker(TAG)
    with pytest.raises(SandboxError, match="No such image"):
        await sandbox.start(Limits())
    os.rename(engine.socket, f"{engine.socket}.gone")
    with pytest.raises(SandboxError, match="the engine does not answer"):
        await find_docker(TAG)
    os.rename(f"{engine.socket}.gone", engine.socket)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() == 0, reason="root may use every socket")
async def test_a_socket_that_one_may_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(path)
        engine.listen()
        os.chmod(path, 0)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        with pytest.raises(SandboxError, match=r"the engine does not answer: .*Permission denied"):
            await find_docker(TAG)


async def test_a_full_disk_is_an_error(place: Path) -> None:
    engine = Engine(place, size=400 << 20)
    try:
        await engine.ready()
        sandbox = await find_docker(TAG)
        await asyncio.to_thread(fill, place / "root/filler")
        with pytest.raises(SandboxError, match="no space left"):
            await Interpreter.start(sandbox, Limits())
        os.truncate(place / "root/filler", 0)
        interpreter = await Interpreter.start(sandbox, Limits())
        assert (await interpreter.run("6 * 7", ignore)).text == "42\n"
        await interpreter.end()
    finally:
        engine.stop()
