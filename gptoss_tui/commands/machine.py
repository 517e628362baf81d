"""Facts about this machine and this program, for bug reports and benchmarks. Does not import torch."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui import __version__
from gptoss_tui.engine.planning.machine import usable_processors

_PACKAGE = Path(__file__).parents[1]

# CPU features that decide between fast and slow kernels, by their names in Linux.
_FEATURES = (
    *("avx2", "f16c", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about this machine. `memory` is in bytes; `cores` are those that this process may use.

    `chip` describes an Apple chip: GPU cores, unified memory, and how much of it the GPU may use.
    """

    system: str
    cpu: str
    cores: int
    features: tuple[str, ...]
    memory: int | None
    python: str
    version: str
    commit: str | None
    chip: str | None = None


def describe_machine() -> Machine:
    """Collect the facts about this machine."""
    from gptoss_tui.engine.metal.apple import read_chip

    cpuinfo = _read(Path("/proc/cpuinfo"))
    chip = read_chip() if sys.platform == "darwin" else None
    return Machine(
        system=platform.platform(terse=True),
        cpu=_cpu_model(cpuinfo),
        cores=usable_processors(),
        features=_features(cpuinfo),
        memory=_total_memory(),
        python=platform.python_version(),
        version=__version__,
        commit=_commit(),
        chip=chip.describe() if chip else None,
    )


def hardware_line() -> str:
    """Processor, cores and memory in a few words."""
    cpuinfo, memory = _read(Path("/proc/cpuinfo")), _total_memory()
    cores = usable_processors()
    parts = [_cpu_model(cpuinfo), f"{cores} core" + ("s" if cores != 1 else "")]
    if memory:
        parts.append(f"{memory / 1e9:.0f} GB memory")
    return ", ".join(part for part in parts if part)


def _cpu_model(cpuinfo: str) -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if match:
        return match[1].strip()
    if sys.platform == "darwin":
        return _output("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _features(cpuinfo: str) -> tuple[str, ...]:
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    present = set(match[1].split()) if match else set()
    return tuple(name for name in _FEATURES if name in present)


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _commit() -> str | None:
    """The current commit if the package is in its git repository, with a `+` when there are uncommitted changes."""
    if not (_PACKAGE.parent / ".git").exists():
        return None
    commit = _output("git", "-C", str(_PACKAGE.parent), "rev-parse", "--short=12", "HEAD")
    changed = commit and _output("git", "-C", str(_PACKAGE.parent), "status", "--porcelain", "--", str(_PACKAGE))
    return f"{commit}+" if changed else commit


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
