"""The kernels compile for the GPUs that we name, at the real shapes, and fit into their shared memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gptoss_tui.engine.triton.kernels

# Shared memory that a program may use, by compute capability (CUDA C++ programming guide, technical specifications).
LIMITS = {
    "86": 99 * 1024,  # RTX 30, the smallest of those since Ampere
    "90": 227 * 1024,  # H100
    "120": 99 * 1024,  # RTX 50
}

SMALLEST = "86"
"""The one that steps of several tokens are compiled for, too."""

KEPT = 1 << 28
"""Bytes of compiled kernels that are kept from run to run."""

LARGEST_PROMPT = "2048"
"""Longer prompts take larger blocks, and with them more shared memory; shorter ones take the same code."""


@pytest.fixture
def compiled(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """What was compiled before: Triton knows it by source, target, options and compiler, and takes it as it was.

    To compile all takes more than a minute. What is stale goes when it gets large.
    """
    cache: pytest.Cache | None = getattr(pytestconfig, "cache", None)
    if cache is None:
        return tmp_path
    folder = cache.mkdir("triton")
    if sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) > KEPT:
        shutil.rmtree(folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("capability", LIMITS)
def test_every_kernel_compiles(capability: str, compiled: Path) -> None:
    """In a process of its own: this one interprets kernels."""
    tokens = "8" if capability == SMALLEST else "1"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(compiled)
    result = subprocess.run(
        [sys.executable, "-m", "tests.engine.triton.offline", capability, tokens, LARGEST_PROMPT],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    shared = json.loads(result.stdout.splitlines()[-1])
    kernels = Path(gptoss_tui.engine.triton.kernels.__file__).parent.glob("*.py")
    names = {name for path in kernels for name in re.findall(r"^def (\w+_kernel)\(", path.read_text(), re.MULTILINE)}
    assert set(shared) == names
    assert max(shared.values()) <= LIMITS[capability]
