"""Small random models on MLX's CPU kernels. Without MLX these tests are skipped.

On a Mac, `GPTOSS_TUI_METAL_ON_CPU=0 pytest tests/engine/metal` runs them on its GPU, with our kernels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.engine.checkpoint import random_checkpoint
from gptoss_tui.engine.metal.device import ON_CPU_VARIABLE
from tests.conformance.shapes import SHAPES as CONFORMANCE_SHAPES

SHAPES = CONFORMANCE_SHAPES | {
    # The heads and the window of gpt-oss-20b. Little else: MLX multiplies packed weights slowly on a CPU.
    "real-heads": replace(
        CONFORMANCE_SHAPES["real-heads"],
        num_experts=4,
        experts_per_token=2,
        vocab_size=80,
        hidden_size=64,
        intermediate_size=32,
    ),
}


# On an M5, MLX multiplies matrices of float32 with 10 bits of mantissa unless it is told not to, before it multiplies.
os.environ.setdefault("MLX_ENABLE_TF32", "0")

ON_CPU = "0" if os.environ.get(ON_CPU_VARIABLE) == "0" else "1"


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLX is there, and its CPU is used, on a Mac too if nobody wants the GPU."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed: pip install 'gptoss-tui[metal]'")
    mx.set_default_device(mx.cpu if ON_CPU == "1" else mx.gpu)
    monkeypatch.setenv(ON_CPU_VARIABLE, ON_CPU)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directory of the random checkpoint of a shape, written once."""
    root = tmp_path_factory.mktemp("metal")

    def make(shape: str) -> Path:
        directory = root / shape
        if not directory.exists():
            directory.mkdir()
            random_checkpoint(SHAPES[shape], directory, "original", seed=1)
        return directory

    return make
