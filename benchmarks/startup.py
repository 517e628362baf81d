"""Measure how long it takes until the app is on the screen and accepts a key, while the model is still loading.

    python benchmarks/startup.py [--runs 7]

Each run starts `gptoss-tui` in a pseudo-terminal of 120 x 40, types a word at once, and waits for the first frame and
for the word to show in the composer. Needs the `test` extra.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.terminal import QUIT, Terminal

_FRAME, _WORD = "Enter", "quickly"


def start(folder: Path) -> tuple[float, float]:
    """Return the seconds to the first frame and to the first typed word."""
    began = time.perf_counter()
    terminal = Terminal([sys.executable, "-m", "gptoss_tui"], folder, dict(os.environ), (120, 40))
    try:
        terminal.wait_for(_FRAME)
        frame = time.perf_counter() - began
        terminal.type(_WORD)
        terminal.wait_for(_WORD)
        typed = time.perf_counter() - began
        terminal.type(QUIT)
        return frame, typed
    finally:
        terminal.close()


def main() -> None:
    """Run and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder))  # the first run compiles and fills the file cache
        seconds = [start(Path(folder)) for _ in range(runs)]
    for name, values in zip(("first frame", "first key"), zip(*seconds, strict=True), strict=True):
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:<12} {statistics.median(values):.2f} s median of {runs} ({spread})")


if __name__ == "__main__":
    main()
