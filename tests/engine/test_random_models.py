"""`random:NAME`: a model that no file holds, for benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gptoss_tui.engine.catalog import PUBLISHED, resolve_model
from gptoss_tui.engine.checkpoint import open_checkpoint, tensor_table
from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.engine.worker.client import EngineClient
from gptoss_tui.errors import CheckpointError


@pytest.mark.parametrize("name", ["gpt-oss-20b", "gpt-oss-120b"])
def test_a_random_model_has_the_shape_of_the_published_one(name: str) -> None:
    path = resolve_model(f"random:{name}")
    assert path == Path(f"random:{name}")
    checkpoint = open_checkpoint(path)
    assert checkpoint.config == PUBLISHED[name].config
    assert checkpoint.weight_bytes == PUBLISHED[name].weight_bytes


def test_tensors_are_made_when_they_are_read() -> None:
    checkpoint = open_checkpoint(Path("random:gpt-oss-20b"))
    name = "block.3.mlp.mlp2_weight.scales"
    tensor, spec = checkpoint.read(name), tensor_table(checkpoint.config)[name]
    assert tuple(tensor.shape) == spec.shape
    assert tensor.dtype == torch.uint8
    assert tensor.equal(checkpoint.read(name)), "the same numbers each time"
    with pytest.raises(KeyError):
        checkpoint.read("no.such.tensor")


def test_other_shapes_are_refused() -> None:
    with pytest.raises(CheckpointError, match="gpt-5") as caught:
        resolve_model("random:gpt-5")
    assert "gpt-oss-20b" in (caught.value.hint or "")


def test_a_model_of_random_numbers_is_no_path() -> None:
    """The worker runs in another directory: paths are made absolute, such names stay."""
    assert EngineClient(EngineSpec(Path("random:gpt-oss-20b"))).spec.checkpoint == Path("random:gpt-oss-20b")
    assert EngineClient(EngineSpec(Path("weights"))).spec.checkpoint == Path.cwd() / "weights"
