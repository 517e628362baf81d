"""Small random models on every instruction set that this machine has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.engine.checkpoint import random_checkpoint
from gptoss_tui.engine.native.library import available, instruction_sets
from gptoss_tui.engine.native.sampling import bias_of
from gptoss_tui.engine.types import SamplingParams
from tests.conformance.shapes import SHAPES as CONFORMANCE_SHAPES
from tests.conformance.shapes import SMALL

SETS = instruction_sets() if available() else []
NO_BIAS = bias_of(SamplingParams())

SHAPES = CONFORMANCE_SHAPES | {
    # Heads that no vector divides, one vocabulary group that is not full, heads narrower than a block in all.
    "odd-heads": replace(
        SMALL,
        num_hidden_layers=3,
        num_experts=3,
        experts_per_token=2,
        vocab_size=70,
        head_dim=22,
        num_attention_heads=6,
    ),
    # So many rows that most need not be read for a token.
    "many-words": replace(SMALL, num_hidden_layers=1, vocab_size=5003),
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directory of the random checkpoint of a shape, written once."""
    root = tmp_path_factory.mktemp("native")

    def make(shape: str) -> Path:
        directory = root / shape
        if not directory.exists():
            directory.mkdir()
            random_checkpoint(SHAPES[shape], directory, "original", seed=1)
        return directory

    return make
