"""The memory and processors that are available to this process on this machine or in its container.

Container limits are those of Linux control groups, versions 1 and 2.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int | None:
    """Bytes that a new process can use without swapping, within the limits of its container; None when unknown."""
    if sys.platform == "darwin":
        return _macos_available()
    found = [size for size in (_meminfo_available(proc), *_cgroup_spare(proc, cgroups)) if size is not None]
    return max(0, min(found)) if found else None


def usable_processors(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """How many processors this process may run on, but no more than its container has time for.

    With more threads, all would have to wait whenever one of them is throttled.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [_share(folder, unified) for folder, unified in _groups("cpu", proc, cgroups)]
    return max(1, min([there, *(share for share in shares if share is not None)]))


def _meminfo_available(proc: Path) -> int | None:
    text = _read(proc / "meminfo")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _cgroup_spare(proc: Path, cgroups: Path) -> Iterator[int]:
    """What each memory limit above this process still allows, for cgroup versions 1 and 2."""
    for folder, unified in _groups("memory", proc, cgroups):
        if unified:
            spare = _group_spare(folder, "memory.max", "memory.current", "inactive_file")
        else:
            spare = _group_spare(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if spare is not None:
            yield spare


def _group_spare(folder: Path, limit_file: str, usage_file: str, reclaimable: str) -> int | None:
    """Limit minus usage of one group. Page cache that would be reclaimed first does not count as used."""
    limit, usage = _read(folder / limit_file).strip(), _read(folder / usage_file).strip()
    if not limit.isdigit() or not usage.isdigit():
        return None
    cache = re.search(rf"^{reclaimable} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
    return int(limit) - int(usage) + (int(cache[1]) if cache else 0)


def _macos_available() -> int | None:
    try:
        report = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, check=True, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_vm_stat(report)


def parse_vm_stat(report: str) -> int | None:
    """Bytes that macOS can provide without swapping, from the output of `vm_stat`.

    Counts pages that are free, file-backed or purgeable. Inactive pages do not count: some belong to programs, and
    those of files are already among the file-backed ones, as are speculative pages.
    """
    page = re.search(r"page size of (\d+) bytes", report)
    pages = re.findall(r"^(?:Pages (?:free|purgeable)|File-backed pages):\s+(\d+)\.", report, re.MULTILINE)
    return int(page[1]) * sum(map(int, pages)) if page and pages else None


def _share(folder: Path, unified: bool) -> int | None:
    """How many processors' worth of time a group may use, rounded up; None without a limit."""
    if unified:
        quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    else:
        quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return -(-int(quota) // int(period)) if quota.isdigit() and period.isdigit() and int(period) else None


def _read(path: Path) -> str:
    """The text of a file, or an empty text if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _groups(controller: str, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Iterator[tuple[Path, bool]]:
    """The folders of this process's groups for a controller, from its own up to the root; True for version 2."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, unified = cgroups, True
        elif controller in controllers.split(","):
            root, unified = cgroups / controller, False
        else:
            continue
        group = root / path.lstrip("/")
        # In a container the path may be the host's and not exist here; then the root is the container's own group.
        for folder in (group, *group.parents):
            yield folder, unified
            if folder == root:
                break
