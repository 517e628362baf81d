"""Measure how fast Python and commands answer in each sandbox: from start to the first result, and later calls.

    python benchmarks/sandbox.py [--runs 20]

A start is a new interpreter that prints the result of one cell. The sandbox is chosen and tested only once per
conversation, so that is measured separately. A command starts anew each time. Sandboxes that this machine does not have
are left out; `gptoss-tui sandbox status` says why.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gptoss_tui.errors import GptOssError
from gptoss_tui.settings import load_settings
from gptoss_tui.tools.python.choose import find_tested_bubblewrap, find_tested_docker
from gptoss_tui.tools.python.interpreter import Interpreter
from gptoss_tui.tools.python.sandbox import Limits, Sandbox
from gptoss_tui.tools.shell.tool import ShellTool
from gptoss_tui.tools.workspace import open_workspace

_CALLS_PER_RUN = 20


def ignore(text: str) -> None:
    """Discard output."""


async def python(name: str, find: Callable[[], Awaitable[Sandbox]], runs: int) -> None:
    """Print the times of one backend, in milliseconds."""
    began = time.perf_counter()
    try:
        sandbox = await find()
    except GptOssError as error:
        print(f"{name:<11} not here: {error.message}")
        return
    chosen = (time.perf_counter() - began) * 1000
    starts: list[float] = []
    calls: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        interpreter = await Interpreter.start(sandbox, Limits())
        await interpreter.run("print(6 * 7)", ignore)
        starts.append((time.perf_counter() - began) * 1000)
        for _ in range(_CALLS_PER_RUN):
            began = time.perf_counter()
            await interpreter.run("print(6 * 7)", ignore)
            calls.append((time.perf_counter() - began) * 1000)
        await interpreter.end()
    print(f"{name:<11} found and tested {chosen:.0f} ms, first result {told(starts)}, call {told(calls)}")


async def commands(runs: int) -> None:
    """Print the times of a command, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        tool = ShellTool(open_workspace(Path(folder)))
        if await tool.sandbox() is None:
            print("shell       not here")
            return
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            await (await tool.prepare("true")).run(ignore)
            times.append((time.perf_counter() - began) * 1000)
    print(f"{'shell':<11} command {told(times)}")


def told(times: list[float]) -> str:
    """Format the median, the best (closest to an idle machine), and the 95th percentile."""
    p95 = statistics.quantiles(times, n=20)[-1]
    return f"{statistics.median(times):.2f} ms (best {min(times):.2f}, p95 {p95:.2f})"


async def main() -> None:
    """Measure everything that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    image = load_settings().python_image
    await python("docker", lambda: find_tested_docker(image), runs)
    await python("bubblewrap", find_tested_bubblewrap, runs)
    await commands(runs)


if __name__ == "__main__":
    asyncio.run(main())
