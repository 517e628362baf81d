"""Small random models on the GPU, or in Triton's interpreter where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from triton import knobs

from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.triton.decode import Blocks
from gptoss_tui.engine.triton.weights import ModelWeights, load_weights
from tests.conformance.shapes import SMALL
from tests.engine.triton import interpreter

if knobs.runtime.interpret:
    interpreter.quicken()

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# The interpreter pays for programs, not for elements: few large blocks.
BLOCKS = Blocks(
    qkv_rows=16, qkv_steps=2, qkv_block=64, keys=16, window_splits=2, out_rows=32, out_steps=2, out_block=64,
    route_block=64, up_warps=1, down_warps=1,
    head_rows=128, head_block=64, vocabulary=64, lookup=16,
)  # fmt: skip

FEW = replace(
    BLOCKS, qkv_rows=128, qkv_steps=1, qkv_block=128, keys=32, out_rows=128, out_steps=1, out_block=128,
    route_block=128, up_strips=2,    head_rows=256, head_block=128, vocabulary=128, lookup=32,
)  # fmt: skip
"""Where the kernels are taken as right."""

SHAPES = {
    # A sliding layer and a full one; columns that do not fill their last MXFP4 tile; two blocks of keys at once.
    "tiny": replace(
        SMALL, num_hidden_layers=2, num_experts=5, vocab_size=131, hidden_size=96, intermediate_size=32, head_dim=32
    ),
    # One query head a key/value head, an odd number of layers, an expert wider than the hidden size.
    "uneven": replace(
        SMALL,
        num_hidden_layers=3,
        num_experts=3,
        experts_per_token=2,
        vocab_size=70,
        hidden_size=64,
        intermediate_size=96,
        head_dim=32,
        num_attention_heads=3,
        num_key_value_heads=3,
        sliding_window=5,
    ),
}

_SHALLOW = replace(
    SHAPES["tiny"], num_experts=2, experts_per_token=1, hidden_size=64, num_attention_heads=2,
    num_key_value_heads=1,
)  # fmt: skip
SHALLOW = "shallow"
"""A shape for what layers have no part in: few programs."""

GROUPED = "grouped"
"""As many query heads a key/value head as the published models have, and more than one expert a token."""

_OTHERS = {
    SHALLOW: _SHALLOW,
    GROUPED: replace(_SHALLOW, num_experts=4, experts_per_token=2, head_dim=16, num_attention_heads=8),
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Directory of the random checkpoint of a shape, written once."""
    root = tmp_path_factory.mktemp("triton")

    def make(shape: str) -> Path:
        directory = root / shape
        if not directory.exists():
            directory.mkdir()
            random_checkpoint({**SHAPES, **_OTHERS}[shape], directory, "original", seed=1)
        return directory

    return make


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> str:
    """Each shape in turn."""
    name: str = request.param
    return name


def triton_weights(directory: Path) -> tuple[ModelConfig, ModelWeights]:
    """The checkpoint in float32, where the kernels' sums differ from torch's by their order only."""
    opened = open_checkpoint(directory)
    return opened.config, load_weights(opened.read, opened.config, torch.float32, DEVICE)
