"""A terminal with a program in it: what a person sees and types."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pexpect
import psutil
import pyte

Condition = Callable[[str], object]

# Sequences that the emulator does not know and would show as text: keyboard modes, queries, shapes of the pointer.
_UNKNOWN = re.compile(
    r"\x1b\[(?:[<=>][0-9;]*[a-zA-Z]|\?[0-9;]*\$p|\?u|(?:2[23];0|16)t)|\x1b\]11;\?\x1b\\\\|\x1b\]22;[a-z-]*\x07"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\](?:22;[a-z-]*|[0-9;?]*\x1b?))?\Z")

ENTER, QUIT = "\r", "\x11"
CHUNK = 4096
"""Characters that are drawn before the screen is looked at: about a frame, so that nothing passes unseen."""


class Terminal:
    """Runs a program in a pseudo-terminal and draws what it writes on a screen."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: dict[str, str], size: tuple[int, int]
    ) -> None:
        columns, rows = size
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self._unfinished = ""
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(rows, columns),
            env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            cwd=str(folder),
            encoding="utf-8",
            codec_errors="replace",
            use_poll=True,
        )
        self._child.delaybeforesend = None
        self._hung_up = False

    @property
    def text(self) -> str:
        """The screen, a line a row."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def type(self, text: str) -> None:
        """Press the keys of `text`."""
        self._child.send(text)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self._screen.resize(rows, columns)
        self._child.setwinsize(rows, columns)

    def wait_for(self, what: str | Condition, seconds: float = 60) -> str:
        """Read until the screen shows `what`, or fulfils it, and give the screen. Fails after `seconds`."""
        condition: Condition = (lambda text: what in text) if isinstance(what, str) else what
        deadline = time.monotonic() + seconds
        while not condition(self.text):
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {seconds} s: {what}\n{self.text}")
            self._read()
        return self.text

    def watch(self, seconds: float) -> None:
        """Look at the screen for so long, as a person does who reads it before answering."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read()

    def wait_for_end(self, seconds: float = 30) -> int:
        """Read until the program has ended and give its exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            if time.monotonic() > deadline:
                raise AssertionError(f"still running after {seconds} s\n{self.text}")
        self._child.close()
        assert self._child.exitstatus is not None, f"ended by signal {self._child.signalstatus}"
        return self._child.exitstatus

    def signal(self, number: int) -> None:
        """Send a signal to the program."""
        self._child.kill(number)

    def state(self) -> str:
        """What the system says of the program: `stopped`, `sleeping`, `running`."""
        return psutil.Process(self._child.pid).status()

    @property
    def wakeups(self) -> int:
        """How often the threads of the program went to sleep so far."""
        threads = psutil.Process(self._child.pid).threads()
        return sum(psutil.Process(thread.id).num_ctx_switches().voluntary for thread in threads)

    def blank(self) -> None:
        """Forget what was drawn, as when another program had the terminal."""
        self._screen.reset()

    def hang_up(self) -> psutil.Process:
        """Close the window. Gives the program's process."""
        self._hung_up = True
        process = psutil.Process(self._child.pid)
        self._child.ptyproc.fileobj.close()
        return process

    @property
    def title(self) -> str:
        """The window's title."""
        return self._screen.title

    @property
    def background(self) -> str:
        """The colour behind the first cell."""
        return self._screen.buffer[0][0].bg

    def workers(self) -> list[psutil.Process]:
        """The engine's processes that the program has."""
        children = psutil.Process(self._child.pid).children(recursive=True)
        return [child for child in children if "gptoss_tui.engine.worker" in child.cmdline()]

    def close(self) -> None:
        """End the program, however it is."""
        if not self._hung_up:
            self._child.close(force=True)

    def _read(self) -> bool:
        """Draw what has come; False when the program has ended."""
        try:
            data = self._unfinished + self._child.read_nonblocking(CHUNK, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self._unfinished = tail.group() if (tail := _UNFINISHED.search(data)) else ""
        self._stream.feed(_UNKNOWN.sub("", data.removesuffix(self._unfinished)))
        return True
