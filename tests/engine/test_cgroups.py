"""How many processors a container has time of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss_tui.engine.cgroups import usable_processors

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert usable_processors(tmp_path / "proc", tmp_path / "cgroup") == expected
