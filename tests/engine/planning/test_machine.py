"""What a machine and its containers leave a process: memory and processors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gptoss_tui.engine.planning.machine import available_memory, parse_vm_stat, usable_processors

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup with these files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root / "proc", root / "cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, HERE),
        ({"proc/self/cgroup": "0::/\n"}, HERE),
        ({"proc/self/cgroup": "0::/a/b\n", "cgroup/a/b/cpu.max": "max 100000\n"}, HERE),
        ({"proc/self/cgroup": "0::/a/b\n", "cgroup/a/b/cpu.max": "100000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/a/b\n", "cgroup/a/cpu.max": "5000 100000\n", "cgroup/a/b/cpu.max": "max 100000"}, 1),
        ({"proc/self/cgroup": "0::/of/the/host\n", "cgroup/cpu.max": "90000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "cgroup/cpu.max": "99900000 100000\n"}, HERE),
        ({"proc/self/cgroup": "0::/\n", "cgroup/cpu.max": "100000 0\n"}, HERE),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/box\n2:memory:/box\n",
                "cgroup/cpu/box/cpu.cfs_quota_us": "100000\n",
                "cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/box\n",
                "cgroup/cpu/box/cpu.cfs_quota_us": "-1\n",
                "cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
            },
            HERE,
        ),
    ],
)
def test_processors_are_those_that_there_is_time_of(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    """The least of all groups around the process, rounded up; no limit is none."""
    assert usable_processors(*machine(tmp_path, files)) == expected


MEMINFO = "MemTotal:       32000 kB\nMemFree:          100 kB\nMemAvailable:   16000 kB\n"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and /sys/fs/cgroup")


@linux_only
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16000 * 1024),
        ({"proc/self/cgroup": "0::/\n"}, 16000 * 1024),
        (
            {"proc/self/cgroup": "0::/a/b\n", "cgroup/a/b/memory.max": "max\n", "cgroup/a/b/memory.current": "5\n"},
            16000 * 1024,
        ),
        (
            {"proc/self/cgroup": "0::/a/b\n", "cgroup/a/memory.max": "9000\n", "cgroup/a/memory.current": "2000\n"},
            7000,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "cgroup/memory.max": "9000\n",
                "cgroup/memory.current": "8000\n",
                "cgroup/memory.stat": "anon 3000\ninactive_file 4000\n",
            },
            5000,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/box\n0::/\n",
                "cgroup/memory/box/memory.limit_in_bytes": "9000\n",
                "cgroup/memory/box/memory.usage_in_bytes": "2000\n",
                "cgroup/memory/box/memory.stat": "total_inactive_file 500\n",
            },
            7500,
        ),
        (
            {
                "proc/self/cgroup": "0::/not/here\n",
                "cgroup/memory.max": "100\n",
                "cgroup/memory.current": "300\n",
            },
            0,
        ),
    ],
)
def test_available_memory_is_the_least_of_the_limits(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, {"proc/meminfo": MEMINFO} | files)
    assert available_memory(proc, cgroups) == expected


@linux_only
def test_nothing_is_known_where_nothing_is_said(tmp_path: Path) -> None:
    assert available_memory(tmp_path / "proc", tmp_path / "cgroup") is None


def test_this_machine_says_what_it_has() -> None:
    available = available_memory()
    assert available is not None
    assert 2**20 < available < 2**50


def test_the_report_of_macos() -> None:
    report = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            400000.
Pages inactive:                           20000.
Pages speculative:                         3000.
Pages throttled:                              0.
Pages wired down:                        100000.
Pages purgeable:                            500.
"Translation faults":                 123456789.
File-backed pages:                        70000.
Anonymous pages:                         353000.
Pages occupied by compressor:             60000.
"""
    assert parse_vm_stat(report) == (10000 + 500 + 70000) * 16384
    assert parse_vm_stat("") is None
