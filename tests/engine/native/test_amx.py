"""The products and the attention of AMX as they are compiled, on a processor that has AVX-512 BF16 but no AMX."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from gptoss_tui.engine.native.build import SETS, NativeBuildError, find_compiler, supported_sets
from tests.engine.native.compiled import compared
from tests.engine.native.conftest import SETS as RUN_HERE


def _knows_amx() -> bool:
    try:
        return "amx" in supported_sets(find_compiler())
    except NativeBuildError:
        return False


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("c++") is None, reason="no compiler, or other signals")
@pytest.mark.skipif(
    "avx512bf16" not in RUN_HERE or "amx" in RUN_HERE, reason="AMX is here, or what surrounds it is not"
)
@pytest.mark.skipif(not _knows_amx(), reason="the compiler does not know AMX")
def test_each_instruction_does_what_the_written_ones_do(tmp_path: Path) -> None:
    """Each ends in a signal here, whose handler decodes the bytes of the instruction: the results are the same bits."""
    units = {f"{name}_tiles_{kind}": SETS[kind].flags for name in ("gemm", "attention") for kind in ("amx", "bf16")}
    lines = compared("compare_amx.cpp", units | {"pack": ()}, tmp_path, "c++")
    assert len(lines) == 12
    assert all(int(line.split()[3]) > 50 for line in lines)
