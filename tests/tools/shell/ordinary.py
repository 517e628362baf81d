"""Commands as an ordinary user gives them, also where the tests run as root, whom no mode of a file stops."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 -- here, since Python itself may lie where nobody can read it
import json
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.shell.tool import ShellTool
from tests.tools.calls import result

_NOBODY = 65534


@contextmanager
def ordinary_workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty workspace that `as_ordinary` can use."""
    top = Path(tempfile.mkdtemp(prefix="gptoss-tui-ordinary-", dir="/var/tmp"))
    monkeypatch.setenv("XDG_STATE_HOME", str(top / "state"))
    monkeypatch.setenv("HOME", "/")  # the home of root cannot even be looked into
    (top / "root").mkdir()
    if os.geteuid() == 0:
        for path in (top, top / "root"):
            os.chown(path, _NOBODY, _NOBODY)
    try:
        yield top / "root"
    finally:
        (top / "root").chmod(0o700)
        for folder, folders, _ in os.walk(top):
            for name in folders:
                os.chmod(os.path.join(folder, name), 0o700)
        shutil.rmtree(top, ignore_errors=True)


def as_ordinary(work: Callable[[], object]) -> str:
    """What `work` returns in a process of an ordinary user; fails with its traceback."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(_NOBODY, _NOBODY, _NOBODY)
                os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            said = [True, str(work())]
        except BaseException:
            said = [False, traceback.format_exc()]
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        done, text = json.loads(file.read())
    os.waitpid(pid, 0)
    assert done, text
    return str(text)


def run_ordinary(root: Path, *commands: str) -> str:
    """What the model reads of the commands, one after another in one conversation."""

    async def run() -> str:
        shell = ShellTool(Workspace(root))
        assert await shell.sandbox() is not None, shell._missing
        return "\n".join([(await result(shell, command)).text for command in commands])

    return as_ordinary(lambda: asyncio.run(run()))
