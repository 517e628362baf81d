"""Measure the patch engine: the time to plan, to show, and to write a patch with everything that undo keeps.

    python benchmarks/patch.py [--runs 5]

Each case is created anew in a temporary folder; the median of the runs is printed. `CPU` is the processor time of
parsing and planning, which other load on the machine hardly changes; `memory` is the peak of Python's own allocations
during them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from gptoss_tui.undo import UndoStore


def many_files(root: Path) -> str:
    """200 files of 300 lines, two hunks each."""
    parts = ["*** Begin Patch"]
    for number in range(200):
        path = root / f"src/pkg{number % 20}/module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"line {at} of {number}\n" for at in range(300)))
        parts.append(f"*** Update File: {path.relative_to(root)}")
        for at in (40, 250):
            parts += ["@@", f" line {at - 1} of {number}", f"-line {at} of {number}", f"+changed {at}"]
    return "\n".join([*parts, "*** End Patch\n"])


def many_hunks(root: Path) -> str:
    """10,000 hunks in one file of 60,000 lines."""
    (root / "big.txt").write_text("".join(f"line {at}\n" for at in range(60_000)))
    parts = ["*** Begin Patch", "*** Update File: big.txt"]
    for at in range(2, 60_000, 6):
        parts += ["@@", f" line {at - 1}", f"-line {at}", f"+changed {at}", f" line {at + 1}"]
    return "\n".join([*parts, "*** End Patch\n"])


def many_loose_hunks(root: Path) -> str:
    """10,000 hunks with nested headers and wrong indentation."""
    lines = []
    for at in range(10_000):
        lines += [f"class C{at}:", "    def f(self):", f"        x = {at}", "        return x", ""]
    (root / "big.py").write_text("".join(f"{line}\n" for line in lines))
    parts = ["*** Begin Patch", "*** Update File: big.py"]
    for at in range(10_000):
        parts += [f"@@ class C{at}:", "@@ def f(self):", f" x = {at}", "-return x", "+return x + 1"]
    return "\n".join([*parts, "*** End Patch\n"])


def large_patch(root: Path) -> str:
    """A patch of 5 MB: every second line of a file of 5 MB."""
    lines = [f"line {at} {'x' * 60}" for at in range(60_000)]
    (root / "big.txt").write_text("".join(f"{line}\n" for line in lines))
    parts = ["*** Begin Patch", "*** Update File: big.txt", "@@"]
    for at, line in enumerate(lines):
        parts += [f" {line}"] if at % 2 else [f"-{line}", f"+{line[:20]}"]
    return "\n".join([*parts, "*** End Patch\n"])


def hopeless(root: Path) -> str:
    """10,000 hunks for a file of equal lines, which cannot be told apart: the patch is refused."""
    (root / "same.txt").write_text("same\n" * 100_000)
    parts = ["*** Begin Patch", "*** Update File: same.txt"]
    for at in range(10_000):
        parts += ["@@", " same", f"-other {at}", "+x", " same"]
    return "\n".join([*parts, "*** End Patch\n"])


CASES: tuple[Callable[[Path], str], ...] = (many_files, many_hunks, many_loose_hunks, large_patch, hopeless)


@contextmanager
def timed(times: list[float], clock: Callable[[], float] = time.perf_counter) -> Iterator[None]:
    """Append the seconds that the block takes, even if the patch is refused."""
    began = clock()
    try:
        yield
    except PatchError:
        pass
    finally:
        times.append(clock() - began)


def measure(case: Callable[[Path], str], runs: int) -> str:
    """Print one row: the patch's size, and the medians in milliseconds."""
    stages: dict[str, list[float]] = {name: [] for name in ("plan", "cpu", "diff", "apply", "undo")}
    text = ""
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            root.mkdir()
            text = case(root)
            planned = None
            with timed(stages["cpu"], time.process_time), timed(stages["plan"]):
                planned = patch.plan(patch.parse(text), root)
            if planned is None:
                continue
            store = UndoStore(root, Path(folder) / "state")
            with timed(stages["diff"]):
                patch.unified_diff(planned)
            with timed(stages["apply"]):
                store.apply(planned)
            with timed(stages["undo"]):
                store.undo()
    cells = [f"{statistics.median(times) * 1000:.0f} ms" if times else "-" for times in stages.values()]
    return " | ".join([case.__name__, f"{len(text) / 1e6:.1f} MB", *cells, f"{peak(case) / 1e6:.0f} MB"])


def peak(case: Callable[[Path], str]) -> int:
    """Return the peak of bytes allocated by parsing and planning, in a separate run since tracing slows them down."""
    with tempfile.TemporaryDirectory() as folder:
        text = case(Path(folder))
        tracemalloc.start()
        with timed([]):
            patch.plan(patch.parse(text), Path(folder))
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print("case | patch | parse and plan | CPU | diff | apply | undo | memory")
    for case in CASES:
        print(measure(case, runs), flush=True)


if __name__ == "__main__":
    main()
