"""Python in real sandboxes at sizes that are too slow for the suite: bombs, long sessions, many sessions, kills.

    python -m tests.tools.python.endurance [--backend docker bubblewrap] [--share 1.0]

`--share 0.1` does a tenth of everything. Ends with 1 when anything was not as it must be, and names it. The image is
that of `GPTOSS_TUI_TEST_IMAGE`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from gptoss_tui.tools.python.choose import find_tested_bubblewrap, find_tested_docker
from gptoss_tui.tools.python.docker_engine import Docker, remove_leftovers
from gptoss_tui.tools.python.sandbox import Limits, Sandbox
from gptoss_tui.tools.python.session import PythonSession
from tests.tools.python.conftest import IMAGE, ignore

SECONDS = 2.0
GRACE = 3.0
GROWTH = 50 << 20

SPIN = "while True: pass"
BOMBS = {
    # what is run: whether it may end well, and whether the state must be kept (None: either, as long as it is told)
    "memory": ("x = bytearray(600 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1", False, None),
    "processes": ("import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(60)", False, None),
    "files": ("fs = []\nfor i in range(10**6): fs.append(open('/dev/null'))", False, True),
    "scratch": ("f = open('/tmp/big', 'wb')\nfor _ in range(1000): f.write(bytes(1 << 20))", False, True),
    "output": ("for _ in range(1024): print('x' * (1 << 20))", None, None),
    "spin": (SPIN, False, True),
    "deaf spin": (f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{SPIN}", False, False),
    "crash": ("import ctypes\nctypes.string_at(0)", False, False),
    "recursion": ("def f(): f()\nf()", False, True),
    "sleep": ("import time\ntime.sleep(60)", False, True),
    "no newline": ("print('x' * 1000, end='')", True, True),
    "bytes": ("import os\nos.write(1, bytes(range(256)) * 10 + b'\\0' * 1000)", True, True),
}
"""Twelve ways to misuse a sandbox."""


@dataclass
class Record:
    """What was tried, and what was wrong."""

    tried: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, right: bool, what: str) -> None:
        self.tried += 1
        if not right:
            self.wrong.append(what)


def session(sandbox: Sandbox, *, seconds: float = SECONDS, stateful: bool = True) -> PythonSession:
    async def choose() -> Sandbox:
        return sandbox

    return PythonSession(choose, Limits(seconds=seconds), stateful=stateful)


async def bombs(sandbox: Sandbox, runs: int, record: Record) -> None:
    """Each ends in time as it must, with the truth about the state, and the next call works."""
    process = psutil.Process()
    for name, (code, ok, kept) in BOMBS.items():
        for number in range(runs):
            running, what = session(sandbox), f"bomb {name} {number}"
            await running.run("kept = 5", ignore)
            before, began = process.memory_info().rss, time.monotonic()
            result = await running.run(code, ignore)
            took, grown = time.monotonic() - began, process.memory_info().rss - before
            record.check(ok is None or result.ok is ok, f"{what}: ok {result.ok}, {result.text[-200:]!r}")
            record.check(took <= SECONDS + GRACE + 2.0, f"{what}: {took:.1f} s")
            record.check(grown <= GROWTH, f"{what}: grew by {grown >> 20} MiB")
            lost = result.data["state_lost"]
            record.check(kept is None or lost is not kept, f"{what}: state_lost {lost}")
            after = (await running.run("print('kept' in dir())", ignore)).text
            record.check(after.splitlines()[-1:] == [str(not lost)], f"{what}: lost {lost}, then {after!r}")
            running.reset()


async def long_session(sandbox: Sandbox, calls: int, record: Record) -> None:
    """One state through many calls."""
    running = session(sandbox, seconds=30.0)
    await running.run("n = 0", ignore)
    times = []
    for number in range(1, calls + 1):
        began = time.perf_counter()
        text = (await running.run("n += 1; n", ignore)).text
        times.append(time.perf_counter() - began)
        record.check(text == f"{number}\n", f"call {number}: {text!r}")
    running.reset()
    times.sort()
    print(f"    a call takes {times[len(times) // 2] * 1000:.2f} ms, p95 {times[len(times) * 95 // 100] * 1000:.2f} ms")


async def many_sessions(sandbox: Sandbox, count: int, record: Record) -> None:
    """Sessions in turns: none sees a variable or a file of another. So many at a time as a machine of 2 cores bears."""
    rng = random.Random(3)
    for start in range(0, count, 10):
        group = [session(sandbox, seconds=30.0) for _ in range(min(10, count - start))]
        secrets = [rng.randrange(10**9) for _ in group]
        await asyncio.gather(
            *(
                s.run(f"mine = {n}; open('/tmp/s', 'x').write('{n}')", ignore)
                for s, n in zip(group, secrets, strict=True)
            )
        )
        for at in rng.sample(range(len(group)), len(group)):
            seen = (await group[at].run("print(mine, open('/tmp/s').read())", ignore)).text
            record.check(seen == f"{secrets[at]} {secrets[at]}\n", f"session {start + at}: {seen!r}")
        for s in group:
            s.reset()


async def stateless(sandbox: Sandbox, calls: int, record: Record) -> None:
    """Nothing of a call is there in the next one."""
    running = session(sandbox, seconds=30.0, stateful=False)
    code = (
        "import os, subprocess\n"
        "print('left' in dir(), os.listdir('/tmp'), len([p for p in os.listdir('/proc') if p.isdigit()]))\n"
        "left = 1; open('/tmp/x', 'w').write('x'); p = subprocess.Popen(['sleep', '60'])"
    )
    first = (await running.run(code, ignore)).text
    for number in range(calls):
        text = (await running.run(code, ignore)).text
        record.check(text == first and text.startswith("False []"), f"stateless call {number}: {text!r}")
    running.reset()


PROGRAM = """
import asyncio, sys
from tests.tools.python.endurance import find, session
async def main():
    running = session(await find(sys.argv[1]), seconds=60.0)
    await running.run(f"import subprocess; subprocess.Popen(['sleep', '{sys.argv[2]}'])", lambda text: None)
    print("up", flush=True)
    await running.run("import time; time.sleep(60)", lambda text: None)
asyncio.run(main())
"""


async def kills(sandbox: Sandbox, count: int, record: Record) -> None:
    """The program is killed at any moment: bubblewrap's processes die with it, a container with the next start."""
    rng = random.Random(9)
    for number in range(count):
        mark = f"86400.{os.getpid()}{number:04}"
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, sandbox.name, mark), stdout=asyncio.subprocess.PIPE
        )
        if number % 3:
            await asyncio.sleep(rng.uniform(0.2, 3.0))
        elif program.stdout is not None:
            await program.stdout.readline()
        if program.returncode is None:
            program.kill()
        await program.wait()
        deadline = time.monotonic() + 10.0
        if isinstance(sandbox, Docker):
            await asyncio.to_thread(remove_leftovers, sandbox.client)
        while (left := _running(mark)) and time.monotonic() < deadline:  # noqa: ASYNC110 - processes set no event
            await asyncio.sleep(0.05)
        record.check(not left, f"kill {number}: a process of it lives")
        if isinstance(sandbox, Docker):
            ours = {"label": f"gptoss-tui.pid={program.pid}"}
            found = await asyncio.to_thread(sandbox.client.containers.list, all=True, ignore_removed=True, filters=ours)
            record.check(not found, f"kill {number}: a container of it is there")


def _running(mark: str) -> bool:
    return any(f"sleep\0{mark}\0".encode() == line for line in _command_lines())


def _command_lines() -> Iterator[bytes]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue


async def find(name: str) -> Sandbox:
    """Raises SandboxError."""
    return await (find_tested_docker(IMAGE) if name == "docker" else find_tested_bubblewrap())


PARTS = {
    "12 bombs": (bombs, 20),
    "calls of one session": (long_session, 1000),
    "sessions": (many_sessions, 100),
    "stateless calls": (stateless, 200),
    "kills": (kills, 50),
}


async def main() -> int:
    """Run the parts and print what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", nargs="*", default=["bubblewrap", "docker"], choices=("bubblewrap", "docker"))
    parser.add_argument("--share", type=float, default=1.0)
    args = parser.parse_args()
    failed = 0
    for name in args.backend:
        sandbox = await find(name)
        for title, (part, size) in PARTS.items():
            record, began = Record(), time.monotonic()
            count = max(1, round(size * args.share))
            await part(sandbox, count, record)
            took = time.monotonic() - began
            print(
                f"{name}: {count} {title}: {record.tried} checks, {len(record.wrong)} wrong, {took:.0f} s", flush=True
            )
            for line in record.wrong[:10]:
                print(f"    {line}", flush=True)
            failed += len(record.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
