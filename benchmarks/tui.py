"""Measure the app's speed and cost in a real terminal, with everything but a real model.

    python benchmarks/tui.py [start] [idle] [stream] [keys] [events] [memory]

`start`: first frame, input ready, memory. `idle`: CPU and memory of the app's own process with nano loaded. `stream`:
CPU of that process for 3,000 tokens at 200/s. `keys`: time from a key to the screen while 600 tokens/s stream below
50,000 rows. `events`: CPU of a key, a frame of an answer and a change of focus after 300 messages. `memory`: after an
hour of 600 tokens/s, played faster. Needs the `test` extra. Run it on an otherwise idle machine; it prints what else
was running.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import select
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import psutil
import pyte

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.tui_player import END, RATE, TOKENS, turn  # noqa: E402
from gptoss_tui.agent import events as ev  # noqa: E402

COLUMNS, ROWS = 120, 40
READY = "ready"
_UNKNOWN = re.compile(rb"\x1b\[(?:[<=>][0-9;]*[a-zA-Z]|\?[0-9;]*\$p|\?u)")


class Screen:
    """A program in a pseudo-terminal, drawn by pyte. Only the CPU time of the program's own process is counted."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        self.began = time.perf_counter()
        self._pyte = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._pyte)
        known = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
        own = {name: str(folder / name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME")}
        self._child = pexpect.spawn(
            command[0],
            command[1:],
            dimensions=(ROWS, COLUMNS),
            cwd=str(folder),
            env={**os.environ, **known, **own, **environment},
        )
        self._child.delaybeforesend = None
        self.process = psutil.Process(self._child.pid)
        self.bytes = 0

    @property
    def text(self) -> str:
        return "\n".join(self._pyte.display)

    @property
    def cpu(self) -> float:
        """CPU-seconds of the process so far."""
        times = self.process.cpu_times()
        return times.user + times.system

    @property
    def rss(self) -> float:
        """Resident memory in MB."""
        return self.process.memory_info().rss / 1e6

    def send(self, text: str) -> float:
        """Press keys; return the time at which they were sent."""
        os.write(self._child.child_fd, text.encode())
        return time.perf_counter()

    def read(self, seconds: float) -> bytes:
        """Return the output that arrives within `seconds`, without drawing it."""
        if not select.select([self._child.child_fd], [], [], max(0.0, seconds))[0]:
            return b""
        data = os.read(self._child.child_fd, 1 << 16)
        self.bytes += len(data)
        return data

    def draw(self, data: bytes) -> None:
        self._stream.feed(_UNKNOWN.sub(b"", data))

    def wait(self, shown: Callable[[str], object], seconds: float = 120) -> float:
        """Draw until `shown` is true; return the seconds since the program began."""
        deadline = time.perf_counter() + seconds
        while not shown(self.text):
            if time.perf_counter() > deadline:
                raise TimeoutError(self.text)
            self.draw(self.read(0.05))
        return time.perf_counter() - self.began

    def watch(self, seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.draw(self.read(left))

    def close(self) -> None:
        """End the program at once; its engine ends with it."""
        self._child.kill(signal.SIGKILL)
        self._child.wait()
        self._child.close()


@contextmanager
def app(*flags: str, player: bool = False, rate: float = 200, tokens: int = 3000) -> Iterator[Screen]:
    """`gptoss-tui`, with nano or with the player as its engine."""
    module = (
        ["-m", "benchmarks.tui_player", "--backend", "python:benchmarks.tui_player"] if player else ["-m", "gptoss_tui"]
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {RATE: str(rate), TOKENS: str(tokens), "GPTOSS_TUI_PYTHON_BACKENDS": "1"}
        screen = Screen([sys.executable, *module, *flags], Path(folder), **environment)
        try:
            yield screen
        finally:
            screen.close()


def measure_start(runs: int = 7) -> None:
    frames, inputs = [], []
    for _ in range(runs + 1):  # the first run compiles and fills the file cache
        with app() as screen:
            frames.append(screen.wait(str.strip))
            screen.send("quickly")
            inputs.append(screen.wait(lambda text: "quickly" in text))
    for name, values in (("first frame", frames[1:]), ("input ready", inputs[1:])):
        report(name, f"{statistics.median(values):.2f} s", f"{min(values):.2f} to {max(values):.2f}, {runs} runs")


def measure_idle(seconds: float = 30) -> None:
    with app() as screen:
        screen.wait(lambda text: READY in text)
        screen.watch(13)  # the cursor blinks for ten seconds after the last key
        before = screen.cpu
        screen.watch(seconds)
        report("idle CPU", f"{100 * (screen.cpu - before) / seconds:.2f} %", f"{seconds:.0f} s, nano loaded")
        report("idle RSS", f"{screen.rss:.0f} MB")


def measure_stream() -> None:
    with app(player=True) as screen:
        screen.wait(lambda text: READY in text)
        screen.watch(2)
        before, written, began = screen.cpu, screen.bytes, time.perf_counter()
        screen.send("hello\r")
        screen.wait(lambda text: END in text)
        screen.watch(0.5)
        wall = time.perf_counter() - began
        report("3,000 tokens at 200/s", f"{screen.cpu - before:.2f} CPU s", f"{wall:.1f} s")
        report("written to the terminal", f"{(screen.bytes - written) / 1e6:.2f} MB")


def measure_keys(rows: int = 50_000, keys: int = 300) -> None:
    with app(player=True, rate=600, tokens=600 * 90) as screen:
        screen.wait(lambda text: READY in text)
        screen.send(f"fill rows {rows}\r")
        filled = screen.wait(lambda text: END in text, 900)
        report(f"filled {rows:,} rows", f"{filled:.0f} s", f"RSS {screen.rss:.0f} MB")
        screen.watch(2)
        screen.send("hello\r")
        screen.watch(3)
        before, began = screen.cpu, time.perf_counter()
        times = [_echo(screen, chr(0x430 + n % 32)) for n in range(keys)]
        share = (screen.cpu - before) / (time.perf_counter() - began)
        lost = times.count(None)
        seen = sorted(1000 * t for t in times if t is not None)
        for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
            report(f"key to paint {name}", f"{seen[min(len(seen) - 1, int(part * len(seen)))]:.1f} ms")
        report("keys lost", str(lost), f"of {keys}; {100 * share:.0f} % of a core")


def _echo(screen: Screen, character: str) -> float | None:
    """Type a letter that is nowhere else on the screen, and delete it. Return the seconds until it appeared."""
    wanted, seen = character.encode(), b""
    sent = screen.send(character)
    while wanted not in seen:
        if time.perf_counter() - sent > 2:
            return None
        seen = seen[-8:] + screen.read(0.1)
    took = time.perf_counter() - sent
    screen.send("\x7f")
    pause = time.perf_counter() + 0.1
    while (left := pause - time.perf_counter()) > 0:
        screen.read(left)
    return took


def measure_memory(seconds: int = 3600, rate: int = 600) -> None:
    with app(player=True) as screen:
        screen.wait(lambda text: READY in text)
        screen.watch(1)
        before = screen.rss
        screen.send(f"fill tokens {seconds * rate}\r")
        took = screen.wait(lambda text: END in text, 1800)
        screen.watch(2)
        report("RSS before", f"{before:.0f} MB")
        report(f"after {seconds * rate:,} tokens", f"{screen.rss:.0f} MB", f"played in {took:.0f} s")


def measure_events(messages: int = 300) -> None:
    for name, milliseconds in asyncio.run(_events(messages)).items():
        report(name, f"{milliseconds:.1f} ms", f"CPU, behind {messages} messages")


async def _events(messages: int) -> dict[str, float]:
    """CPU milliseconds of single events in the app without a terminal, less what it spends anyway."""
    from textual import events

    from gptoss_tui.tui.widgets.transcript import Transcript
    from tests.tui.screen import composer, transcript
    from tests.tui.scripted_agent import make_app

    program, _ = make_app()
    async with program.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause(0.5)
        talk = program.screen_stack[0]._talk  # type: ignore[attr-defined]
        for number in range(messages // 2):
            for event in turn(number, 1):
                talk.apply(event)
            talk.flush()
        while not all(view.is_settled for view in program.screen.query(Transcript)):
            await pilot.pause(0.05)
        composer(program).cursor_blink = False

        def append(number: int) -> None:
            talk.apply(ev.AnswerDelta(item_id="live", text="word "))
            talk.flush()

        def scroll(number: int) -> None:
            transcript(program).scroll_relative(y=-3 if number < 20 else 3, animate=False)

        found = {"key": await _cost(lambda n: program.post_message(events.Key("a", "a")), 40, 0.05)}
        found["frame of an answer"] = await _cost(append, 40, 0.05)
        focus: tuple[events.Event, events.Event] = (events.AppBlur(), events.AppFocus())
        found["focus"] = await _cost(lambda n: program.post_message(focus[n % 2]), 20, 0.1)
        found["scroll"] = await _cost(scroll, 40, 0.05)
        return found


async def _cost(act: Callable[[int], object], times: int, gap: float) -> float:
    """CPU milliseconds of one `act`, done `times` times `gap` seconds apart, beyond what doing nothing takes."""
    began = time.process_time()
    await asyncio.sleep(times * gap)
    idle = time.process_time() - began
    began = time.process_time()
    for number in range(times):
        act(number)
        await asyncio.sleep(gap)
    return 1000 * (time.process_time() - began - idle) / times


def report(name: str, value: str, note: str = "") -> None:
    print(f"  {name:<28} {value:>12}  {note}", flush=True)


MEASURES: dict[str, Callable[[], None]] = {
    "start": measure_start,
    "idle": measure_idle,
    "stream": measure_stream,
    "events": measure_events,
    "keys": measure_keys,
    "memory": measure_memory,
}


def main() -> None:
    """Run the selected measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(MEASURES)}; all by default")
    for name in parser.parse_args().measures or MEASURES:
        print(f"{name} (load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores)", flush=True)
        MEASURES[name]()


if __name__ == "__main__":
    main()
