"""What macOS reports about an Apple chip: its name, memory, and how much of it the GPU may use. Does not import MLX."""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass

SYSCTL = ("/usr/sbin/sysctl", "machdep.cpu.brand_string", "hw.memsize", "iogpu.wired_limit_mb")
TRANSLATED = ("/usr/sbin/sysctl", "-n", "sysctl.proc_translated")
IOREG = ("/usr/sbin/ioreg", "-r", "-d", "1", "-c", "AGXAccelerator")

_SMALL_MEMORY = 36 << 30
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class AppleChip:
    """One chip. `memory` is shared by CPU and GPU, and `wired_limit` is how much of it the GPU may use; both in bytes.

    `raised`: the user has set that limit. `estimated`: only Metal knows the limit, and was not asked.
    """

    name: str
    memory: int
    wired_limit: int
    raised: bool
    gpu_cores: int | None
    estimated: bool = False

    def describe(self) -> str:
        """A one-line description for users."""
        cores = f", {self.gpu_cores} GPU cores" if self.gpu_cores else ""
        origin = "set" if self.raised else "by default"
        limit = f"{'about ' * self.estimated}{self.wired_limit / 2**30:.1f} GiB for the GPU ({origin})"
        return f"{self.name}{cores}, {self.memory / 2**30:.0f} GiB of unified memory, {limit}"

    def hint(self, needed: int) -> str | None:
        """The command that lets the GPU use `needed` bytes; None if it may already, or if macOS would have too few."""
        wanted = -(-needed // _MIB)
        if self.wired_limit >= needed or needed > self.memory - min(4 << 30, self.memory // 8):
            return None
        return f"let the GPU hold more of the memory, until the next start: sudo sysctl iogpu.wired_limit_mb={wanted}"


def read_chip() -> AppleChip | None:
    """The chip of this Mac, or None elsewhere. Its limit may be an estimate: `device.measured_chip` asks Metal."""
    return parse_chip(_output(SYSCTL), _output(IOREG))


def parse_chip(sysctl: str, ioreg: str) -> AppleChip | None:
    """The chip described by the outputs of `SYSCTL` and `IOREG`; None if it is not one of Apple's.

    A limit of 0 stands for macOS's default, which only Metal knows: about two thirds of a small memory, three quarters
    of a large one.
    """
    found = dict(re.findall(r"^([\w.]+): (.+)$", sysctl, re.MULTILINE))
    name, memory = found.get("machdep.cpu.brand_string", ""), found.get("hw.memsize", "")
    if not name.startswith("Apple ") or not memory.isdigit():
        return None
    size = int(memory)
    limit = int(found.get("iogpu.wired_limit_mb", "0")) * _MIB
    default = size * 2 // 3 if size < _SMALL_MEMORY else size * 3 // 4
    cores = re.search(r'"gpu-core-count" = (\d+)', ioreg)
    gpu_cores = int(cores[1]) if cores else None
    return AppleChip(name, size, limit or default, limit > 0, gpu_cores, estimated=limit == 0)


def is_translated() -> bool:
    """Whether this Python was built for Intel, and runs on an Apple chip under Rosetta."""
    return (platform.system(), platform.machine()) == ("Darwin", "x86_64") and _output(TRANSLATED).strip() == "1"


def _output(command: tuple[str, ...]) -> str:
    try:
        # If this macOS does not know a key, the exit code is 1, but the others are still printed.
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
