"""Checkpoints on disk: one canonical set of tensors, read memory-mapped from two layouts and `metal/model.bin`."""

from pathlib import Path

from gptoss_tui.engine.checkpoint import reader
from gptoss_tui.engine.checkpoint.model_bin import ModelBin, find_model_bin
from gptoss_tui.engine.checkpoint.random_weights import random_checkpoint, random_model
from gptoss_tui.engine.checkpoint.reader import Checkpoint
from gptoss_tui.engine.checkpoint.tensors import TensorSpec, tensor_table
from gptoss_tui.engine.checkpoint.writer import write_checkpoint
from gptoss_tui.engine.types import RANDOM_PREFIX


def open_checkpoint(directory: Path) -> Checkpoint:
    """As `reader.open_checkpoint`; a path `random:NAME` is a model of random weights. Raises CheckpointError.

    A directory without safetensors files may hold `model.bin`, itself or in its folder `metal/`.
    """
    if str(directory).startswith(RANDOM_PREFIX):
        return random_model(str(directory))
    if not reader.has_safetensors(directory) and (found := find_model_bin(directory)):
        return ModelBin(found)
    return reader.open_checkpoint(directory)


__all__ = ["Checkpoint", "TensorSpec", "open_checkpoint", "random_checkpoint", "tensor_table", "write_checkpoint"]
