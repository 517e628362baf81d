"""The ARM kernels, where there is a compiler for ARM and an emulator (or the machine is one)."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from gptoss_tui.engine.native.build import SETS
from tests.engine.native.compiled import compared

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
    assert len(compared("compare_arm.cpp", units, tmp_path, str(COMPILER), EMULATOR)) == 5


def test_the_arm_prefill_computes_what_the_plain_one_does(tmp_path: Path) -> None:
    """By dot products and by small matrices: both kinds of matrix, tiles of every height, with SwiGLU and without."""
    units = {f"gemm_bytes_{name}": SETS[name].flags for name in ("dotprod", "i8mm")}
    lines = compared("compare_arm_gemm.cpp", units | {"gemm_float": (), "pack": ()}, tmp_path, str(COMPILER), EMULATOR)
    assert [line.partition(":")[0] for line in lines] == ["int8-neon", "int8-i8mm"] * 22
