"""Cells in a real sandbox: state, output, errors, limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gptoss_tui.tools.python.bubblewrap import BubblewrapProcess
from gptoss_tui.tools.python.docker_engine import find_docker
from gptoss_tui.tools.python.sandbox import Sandbox
from gptoss_tui.tools.python.session import NO_OUTPUT, PythonSession
from tests.tools.python.conftest import IMAGE, Open, ignore, run

LOST = "variables, imports and files are gone"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("print(6 * 7)", "42\n"),
        ("6 * 7", "42\n"),
        ("6 * 7;", NO_OUTPUT),
        ("None", NO_OUTPUT),
        ("x = 1", NO_OUTPUT),
        ("", NO_OUTPUT),
        ("print('a')\n'b'", "a\n'b'\n"),
        ("for i in range(3):\n    print(i, end='')", "012"),
        ("print('é中😀\\x00\\x1b')", "é中😀\x00\x1b\n"),
        ("import os; os.write(1, b'\\xff')", "\ufffd1\n"),
        ("import sys; sys.stdout.buffer.write(b'ab\\n'); sys.stdout.flush()", "ab\n"),
        ("import subprocess; subprocess.run(['echo', 'child']).returncode", "child\n0\n"),
        ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nf(20)", "6765\n"),
        ("__name__", "'__main__'\n"),
        ("import os; os.getcwd()", "'/mnt/data'\n"),
        ("open('a.txt', 'w').write('x'); open('/mnt/data/a.txt').read()", "'x'\n"),
    ],
)
async def test_output_and_last_value(session: PythonSession, code: str, text: str) -> None:
    assert await run(session, code) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "a = 1\nb = a / 0",
            'Traceback (most recent call last):\n  File "<cell 1>", line 2, in <module>\n    b = a / 0\n',
        ),
        ("def", '  File "<cell 1>", line 1\n    def\n'),
        ("raise SystemExit(3)", "SystemExit: 3\n"),
        ("input()", "EOFError: EOF when reading a line\n"),
        ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E()", "<exception str() failed>\n"),
        ("class V:\n    def __repr__(self): raise ValueError('no')\nV()", "ValueError: no\n"),
    ],
)
async def test_errors_are_tracebacks_of_the_cell(session: PythonSession, code: str, text: str) -> None:
    result = await session.run(code, ignore)
    assert not result.ok
    assert text in result.text
    assert "<worker>" not in result.text
    assert "ast.py" not in result.text
    assert await run(session, "1") == "1\n"


async def test_state_stays(session: PythonSession) -> None:
    await run(session, "import math\ndef area(r): return math.pi * r * r")
    await run(session, "total = 0")
    for number in range(1000):
        await run(session, f"total += {number}")
    assert await run(session, "print(total, round(area(2), 3))") == "499500 12.566\n"


async def test_sessions_do_not_see_each_other(open_session: Open) -> None:
    one, other = open_session(), open_session()
    await run(one, "secret = 1; open('/tmp/secret', 'w').close()")
    assert "NameError" in await run(other, "secret")
    assert await run(other, "import os; os.listdir('/tmp')") == "[]\n"


async def test_output_streams_and_is_whole(session: PythonSession) -> None:
    pieces: list[str] = []
    result = await session.run("for i in range(2000): print(i)", pieces.append)
    assert "".join(pieces) == result.text == "".join(f"{i}\n" for i in range(2000))


async def test_output_is_capped(open_session: Open) -> None:
    session = open_session(output=1000, seconds=20.0)
    text = await run(session, "print('x' * 8_000_000)")
    assert text == "x" * 1000 + "\n[7999001 more bytes of output were dropped. Print less.]"
    assert await run(session, "print('y')") == "y\n"


async def test_a_cell_that_takes_too_long_keeps_the_state(open_session: Open) -> None:
    session = open_session(seconds=1.0)
    await run(session, "kept = 5")
    for code in ("while True: pass", "import time; time.sleep(30)"):
        text = await run(session, code)
        assert text.endswith("[Stopped: the code ran for more than 1 seconds. Variables are kept.]")
        assert "<worker>" not in text
    assert await run(session, "kept") == "5\n"


async def test_a_cell_that_will_not_stop_is_ended(open_session: Open) -> None:
    session = open_session(seconds=1.0)
    result = await session.run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", ignore)
    assert not result.ok
    assert result.data == {"ending": "timeout", "state_lost": True, "files": []}
    assert LOST in result.text
    assert await run(session, "1") == f"[Python was restarted before this call: {LOST}.]\n1\n"
    assert await run(session, "2") == "2\n"


async def test_processes_of_a_stopped_cell_do_not_go_on(open_session: Open) -> None:
    session = open_session(seconds=1.0)
    result = await session.run(
        "import os, time\nfor i in range(3):\n    if os.fork() == 0:\n        time.sleep(60)\ntime.sleep(60)", ignore
    )
    assert result.data["state_lost"] is True


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(3)",
        "import ctypes; ctypes.string_at(0)",
        "import os; os.closerange(3, 200)",
    ],
)
async def test_a_process_that_ends_is_told_and_replaced(session: PythonSession, code: str) -> None:
    result = await session.run(code, ignore)
    assert result.data == {"ending": "died", "state_lost": True, "files": []}
    assert LOST in result.text
    assert (await run(session, "1")).endswith("\n1\n")


async def test_a_fork_that_comes_out_of_its_cell_is_no_second_worker(session: PythonSession) -> None:
    await run(session, "import os; kept = 1; pid = os.fork()")
    for _ in range(5):
        assert await run(session, "kept") == "1\n"


BOMBS = {
    "memory": "x = bytearray(1 << 30)",
    "files": "fs = []\nwhile True: fs.append(open('/dev/null'))",
    "scratch": "with open('/tmp/big', 'wb') as f:\n    for _ in range(100): f.write(bytes(1 << 20))",
    "processes": "import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(60)",
    "recursion": "def f(): f()\nf()",
    "threads": "import threading as t, time\nwhile True: t.Thread(target=time.sleep, args=[60], daemon=True).start()",
}


async def test_a_cell_that_keeps_every_file_open_keeps_the_state(session: PythonSession) -> None:
    assert "Too many open files" in await run(session, f"kept = 5\n{BOMBS['files']}")
    assert await run(session, "kept") == "5\n"


@pytest.mark.parametrize("bomb", BOMBS)
async def test_bombs_end_as_errors_and_the_next_call_works(open_session: Open, bomb: str) -> None:
    session = open_session(seconds=5.0)
    result = await session.run(BOMBS[bomb], ignore)
    assert not result.ok
    assert (await run(session, "print('alive')")).endswith("alive\n")


async def test_cancelling_ends_everything(session: PythonSession) -> None:
    seen = asyncio.Event()
    task = asyncio.create_task(session.run(f"{CHILD}\nwhile True: time.sleep(1)", lambda text: seen.set()))
    await seen.wait()
    await _until(running=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(running=False)
    assert (await run(session, "1")).startswith("[Python was restarted")


async def test_reset_ends_the_process_and_forgets(session: PythonSession) -> None:
    await run(session, f"{CHILD}\nx = 1")
    await _until(running=True)
    session.reset()
    await _until(running=False)
    assert "NameError" in (text := await run(session, "x"))
    assert "restarted" not in text


async def test_a_program_that_is_killed_leaves_nothing(sandbox: Sandbox) -> None:
    code = f"{CHILD}\nwhile True: time.sleep(1)"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, sandbox.name, IMAGE, code), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    assert await program.stdout.readline() == b"up\n"
    await _until(running=True)
    program.kill()
    await program.wait()
    await _until(running=False)
    if sandbox.name == "docker":
        again = await find_docker(IMAGE)
        ours = {"label": f"gptoss-tui.pid={program.pid}"}
        assert not await asyncio.to_thread(again.client.containers.list, all=True, ignore_removed=True, filters=ours)


async def test_what_bubblewrap_started_before_the_sandbox_was_set_up_ends_with_it() -> None:
    """Until then the process inside does not die with its parent, and waits for it for ever."""
    ours, theirs = socket.socketpair()
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - the process closes it
    with theirs:
        program = await asyncio.to_thread(
            subprocess.Popen, ["sh", "-c", f"sleep {SECONDS} & wait"], stdin=theirs, start_new_session=True
        )
    process = BubblewrapProcess(program, ours, errors)
    await _until(running=True)
    process.kill()
    await process.wait()
    await _until(running=False)


SECONDS = f"86400.{os.getpid()}"
CHILD = f"""import os, subprocess, time
subprocess.Popen(["sleep", "{SECONDS}"], start_new_session=True)
print("up", flush=True)"""
"""A cell that starts a process which can be told from all others on the machine."""

PROGRAM = """
import asyncio, sys
from gptoss_tui.tools.python.choose import choose_sandbox
from gptoss_tui.tools.python.sandbox import Limits
from gptoss_tui.tools.python.session import PythonSession
name, image, code = sys.argv[1:]
session = PythonSession(lambda: choose_sandbox(name, image), Limits())
asyncio.run(session.run(code, lambda text: print(text, end="", flush=True)))
"""


async def _until(*, running: bool) -> None:
    """Waits until the child runs, or does not; the test's time limit is the failure."""
    while _running() != running:  # noqa: ASYNC110 - processes set no event
        await asyncio.sleep(0.05)


def _running() -> bool:
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and Path("/proc", entry, "cmdline").read_bytes() == f"sleep\0{SECONDS}\0".encode():
                return True
    return False


def test_what_a_person_reads_names_the_sandbox(sandbox: Sandbox) -> None:
    assert sandbox.name in sandbox.description.lower()
    assert "no network" in sandbox.description
