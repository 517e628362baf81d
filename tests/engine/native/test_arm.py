"""The ARM kernels, where there is a compiler for ARM and an emulator (or the machine is one)."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from gptoss_tui.engine.native.build import SETS, SOURCES

ON_ARM = platform.machine() in ("aarch64", "arm64")
COMPILER = shutil.which("c++" if ON_ARM else "aarch64-linux-gnu-g++")
EMULATOR = () if ON_ARM else ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")


pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="no compiler for ARM"),
    pytest.mark.skipif(not ON_ARM and shutil.which("qemu-aarch64") is None, reason="no emulator of ARM"),
]


def test_the_arm_kernels_compute_what_the_plain_ones_do(tmp_path: Path) -> None:
    """Each product, on random matrices."""
    units = {"kernels_dotprod": SETS["dotprod"].flags, "kernels_scalar": (), "pack": ()}
    assert len(compared("compare_arm.cpp", units, tmp_path)) == 5


def test_the_arm_prefill_computes_what_the_plain_one_does(tmp_path: Path) -> None:
    """Both kinds of matrix, tiles of every height, with SwiGLU and without."""
    units = {"gemm_bytes_dotprod": SETS["dotprod"].flags, "gemm_float": (), "pack": ()}
    assert len(compared("compare_arm_gemm.cpp", units, tmp_path)) == 22


def compared(program_source: str, units: dict[str, tuple[str, ...]], tmp_path: Path) -> list[str]:
    """Compile a program of this folder with some units of the library, with their flags, and run it: what it prints."""
    sources = {SOURCES / f"{name}.cpp": flags for name, flags in units.items()}
    sources[Path(__file__).with_name(program_source)] = ()
    objects = []
    for source, flags in sources.items():
        objects.append(tmp_path / f"{source.stem}.o")
        command = [str(COMPILER), "-std=c++17", "-O1", "-Wno-psabi", *flags, f"-I{SOURCES}", "-c", str(source)]
        subprocess.run([*command, "-o", str(objects[-1])], check=True)
    program = tmp_path / "compare"
    subprocess.run([str(COMPILER), *map(str, objects), "-o", str(program)], check=True)
    ended = subprocess.run([*EMULATOR, str(program)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout.splitlines()
