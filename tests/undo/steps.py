"""An edit step by step: something happens before each of its writes, or it is killed there.

    python -m tests.undo.steps

is the process that forks those that are killed. It has imported what an edit needs and no more: to fork a process that
runs tests takes several times as long as the edit.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.errors import GptOssError
from gptoss_tui.patch import kernel
from gptoss_tui.undo.journal import TurnJournal
from tests.undo.victim import REFUSED

STEPS = ("open", "write", "fsync", "link", "rename", "unlink", "mkdir", "rmdir", "fchmod")
JOURNAL = ("opened", "committed", "closed", "withdrawn")


def watch(monkeypatch: pytest.MonkeyPatch, step: Callable[[str], None]) -> None:
    """Call `step` before each write to the workspace, and before and after each write to the journal."""

    def before(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if name != "open" or args[1] & os.O_CREAT:
                step(name)
            return call(*args, **kwargs)

        return wrapper

    def around(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            step(f"before {name}")
            value = call(*args, **kwargs)
            step(f"after {name}")
            return value

        return wrapper

    for name in STEPS:
        monkeypatch.setattr(os, name, before(name, getattr(os, name)))
    monkeypatch.setattr(kernel, "exchange", before("exchange", kernel.exchange))
    for name in JOURNAL:
        monkeypatch.setattr(TurnJournal, name, around(name, getattr(TurnJournal, name)))


def without_second_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links and without swapping."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(kernel, "exchange", lambda *names: False)


def killed_at(number: int, work: Callable[..., object], *args: object, one_name: bool = False) -> bool:
    """Run `work(*args)` in a process that is killed at its `number`-th step. False when it ended before.

    Within `process_that_forks`.

    `work` is a function of a module. With `one_name`, files can have one name only.
    """
    process = _server()
    pickle.dump((number, work, args, one_name), process.stdin)
    process.stdin.flush()
    status = pickle.load(process.stdout)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


@functools.cache
def _server() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.undo.steps"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


@contextlib.contextmanager
def process_that_forks() -> Iterator[None]:
    """Have the process within the block."""
    try:
        with _server():
            yield
    finally:
        _server.cache_clear()


def _run_and_die(number: int, work: Callable[..., object], args: tuple[object, ...], one_name: bool) -> int:
    count = 0

    def step(name: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            if one_name:
                without_second_names(monkeypatch)
            watch(monkeypatch, step)
            work(*args)
    except GptOssError:
        return REFUSED
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def main() -> None:
    """Fork, and tell how the child ended, as often as it is asked for."""
    gc.freeze()
    while True:
        try:
            number, work, args, one_name = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            os._exit(_run_and_die(number, work, args, one_name))
        _, status = os.waitpid(child, 0)
        pickle.dump(status, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
