"""A Docker engine that fails in each way at each step: `python -m tests.tools.python.faults`.

Six faults (killed, frozen, socket gone, disk full, image gone, no permission) at five steps of a call (asking for the
engine, making the container, starting it, running code, removing it). Each case is a program of its own, which says how
it ended, how long that took and how long its event loop stood still. Afterwards the engine is mended, and nothing of
the case may be left once the app asks for Docker again. Needs root and dockerd. Ends with 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from gptoss_tui.tools.python import image
from gptoss_tui.tools.python.docker_engine import Docker, find_docker, remove_leftovers
from gptoss_tui.tools.python.interpreter import Interpreter
from gptoss_tui.tools.python.sandbox import Limits, SandboxError
from tests.tools.python.engine import TAG, Engine, fill

FOLDER = Path("/var/tmp/gptoss-tui-faults")
PHASES = ("ask", "make", "start", "run", "remove")
FAULTS = ("killed", "frozen", "socket gone", "disk full", "image gone", "no permission")
RUN_SECONDS = 2.0
ERROR_SECONDS = 5.0
GRACE_SECONDS = 6.0
"""An interrupt may take so long before the process is given up; that is the limit of the code, not of the engine."""
STILL_SECONDS = 0.1
SWEEPS = 5
USER = 1000


def break_it(fault: str, pid: int) -> None:
    """Make the engine fail. Runs in the program of the case."""
    path = FOLDER / "docker.sock"
    match fault:
        case "killed":
            os.kill(pid, signal.SIGKILL)
        case "frozen":
            os.kill(pid, signal.SIGSTOP)
        case "socket gone":
            os.rename(path, f"{path}.gone")
        case "disk full":
            fill(FOLDER / "root/filler")
        case "image gone":
            subprocess.run(["docker", "rmi", "-f", TAG], check=True, capture_output=True)
        case "no permission":
            os.chmod(path, 0o600)
            os.seteuid(USER)


async def mend(engine: Engine, fault: str) -> None:
    """Make it work again."""
    path = engine.socket
    match fault:
        case "killed":
            engine.process.wait()
            engine.restart()
        case "frozen":
            engine.process.send_signal(signal.SIGCONT)
        case "socket gone":
            os.rename(f"{path}.gone", path)
        case "disk full":
            os.truncate(engine.folder / "root/filler", 0)
        case "no permission":
            os.chmod(path, 0o660)
    await engine.ready(with_image=fault == "image gone")


class Heart:
    """How long the event loop stood still at most, without the time that its thread waited for a processor."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        last, waited = time.monotonic(), _waited()
        while True:
            await asyncio.sleep(0.005)
            now, until_now = time.monotonic(), _waited()
            self.longest = max(self.longest, now - last - 0.005 - (until_now - waited))
            last, waited = now, until_now


def _waited() -> float:
    """Seconds for which this thread was ready to run and did not."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


async def case(fault: str, phase: str, pid: int) -> dict[str, Any]:
    """One case. What came of it: `error` for a typed one, `ok`, `timeout`, `died`; anything else is a traceback."""
    await asyncio.to_thread(__import__, "docker")
    sandbox = await find_docker(TAG) if phase != "ask" else None
    runs = sandbox is not None and phase in ("run", "remove")
    interpreter = await Interpreter.start(sandbox, Limits(seconds=RUN_SECONDS)) if sandbox and runs else None
    if phase == "start":
        start = Container.start

        def broken(container: Container, **options: Any) -> None:
            break_it(fault, pid)
            start(container, **options)

        Container.start = broken
    elif phase != "run":
        await asyncio.to_thread(break_it, fault, pid)
    heart, began = Heart(), time.monotonic()
    try:
        ending = await _act(phase, sandbox, interpreter, lambda: asyncio.to_thread(break_it, fault, pid))
    except SandboxError as error:
        ending = f"error: {error.message[:90]}"
    took = time.monotonic() - began
    return {"ending": ending, "took": took, "still": heart.longest}


async def _act(
    phase: str, sandbox: Docker | None, interpreter: Interpreter | None, fail: Callable[[], Awaitable[None]]
) -> str:
    if phase == "ask":
        await find_docker(TAG)
    elif interpreter is None:
        assert sandbox is not None
        await (await Interpreter.start(sandbox, Limits())).end()
    elif phase == "run":
        up = asyncio.Event()
        running = asyncio.create_task(
            interpreter.run("print('up', flush=True)\nimport time\ntime.sleep(60)", lambda text: up.set())
        )
        await up.wait()
        await fail()
        return (await running).ending
    else:
        await interpreter.end()
    return "ok"


async def matrix(faults: Sequence[str], runs: int) -> int:
    """All cases. Gives how many were wrong."""
    os.environ["DOCKER_HOST"] = f"unix://{FOLDER}/docker.sock"
    engine, wrong, tried, stills = Engine(FOLDER, size=600 << 20), 0, 0, []
    try:
        await engine.ready()
        os.chmod(engine.socket, 0o666)
        for fault in faults:
            for phase in PHASES:
                for _ in range(runs):
                    found = await _tried(engine, fault, phase)
                    tried, wrong = tried + 1, wrong + bool(found["wrong"])
                    stills.append(found["still"])
                    print(
                        f"{fault} at {phase}: {found['ending']} after {found['took']:.1f} s",
                        *found["wrong"],
                        flush=True,
                    )
    finally:
        engine.stop()
    print(f"{tried} cases, {wrong} wrong; the event loop stood still for {max(stills) * 1000:.0f} ms at most")
    return wrong


async def _tried(engine: Engine, fault: str, phase: str) -> dict[str, Any]:
    words = (sys.executable, "-m", "tests.tools.python.faults", "--case", fault, phase, str(engine.process.pid))
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, check=False, timeout=120)
    await mend(engine, fault)
    wrong: list[str] = []
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"ending": "no answer", "took": 0.0, "still": 0.0, "wrong": [done.stderr[-500:]]}
    limit = RUN_SECONDS + GRACE_SECONDS if phase == "run" else ERROR_SECONDS
    if found["took"] > limit:
        wrong.append(f"took {found['took']:.1f} s")
    if found["still"] > STILL_SECONDS:
        wrong.append(f"stood still for {found['still'] * 1000:.0f} ms")
    left: list[Container] | None = None
    for _ in range(SWEEPS):  # an engine that was frozen, or died, first does what it was asked for meanwhile
        client = await asyncio.to_thread(image.connect)
        client.api.timeout = 10
        await asyncio.to_thread(remove_leftovers, client)
        try:
            left = await asyncio.to_thread(client.containers.list, all=True, ignore_removed=True)
        except OSError:
            continue
        finally:
            client.close()
        if not left:
            break
        await asyncio.sleep(1)
    if left is None:
        wrong.append("the engine does not say what is left")
    if left:
        wrong.append(f"{len(left)} containers are left")
        for container in left:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(container.remove, force=True)
    return {**found, "wrong": wrong}


def main() -> int:
    """Run the matrix, or one case of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--fault", nargs="*", default=FAULTS, choices=FAULTS)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        fault, phase, pid = args.case
        print(json.dumps(asyncio.run(case(fault, phase, int(pid)))), flush=True)
        os._exit(0)  # as an app that is killed: what waits for a frozen engine is not waited for
    return 1 if asyncio.run(matrix(args.fault, args.runs)) else 0


if __name__ == "__main__":
    sys.exit(main())
