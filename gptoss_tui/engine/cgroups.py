"""What the container around this process, if there is one, leaves it: Linux's control groups, version 2 and 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def read(path: Path) -> str:
    """The text of a file; empty when it is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def groups(controller: str, proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[tuple[Path, bool]]:
    """The folders of this process's groups for a controller, from its own up; and whether they are of version 2."""
    for line in read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, unified = cgroups, True
        elif controller in controllers.split(","):
            root, unified = cgroups / controller, False
        else:
            continue
        group = root / path.lstrip("/")
        # In a container the path may be the host's, which is not there; the root then is the container's own group.
        for folder in (group, *group.parents):
            yield folder, unified
            if folder == root:
                break


def usable_processors(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """As many as this process may run on, and no more than its container has time of.

    Threads that wait for each other would wait out the pauses of those beyond that.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [_share(folder, unified) for folder, unified in groups("cpu", proc, cgroups)]
    return max(1, min([there, *(share for share in shares if share is not None)]))


def _share(folder: Path, unified: bool) -> int | None:
    """Processors whose time a group may take, rounded up; None where it has no limit."""
    if unified:
        quota, _, period = read(folder / "cpu.max").strip().partition(" ")
    else:
        quota, period = (read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return -(-int(quota) // int(period)) if quota.isdigit() and period.isdigit() and int(period) else None
