"""Checkpoints on disk: one canonical set of tensors, read memory-mapped from two layouts and `metal/model.bin`."""

from pathlib import Path

from gptoss_tui.engine.checkpoint.model_bin import ModelBin, find_model_bin
from gptoss_tui.engine.checkpoint.random_weights import random_checkpoint, random_model
from gptoss_tui.engine.checkpoint.reader import Checkpoint, has_safetensors, open_safetensors
from gptoss_tui.engine.checkpoint.tensors import TensorSpec, tensor_table
from gptoss_tui.engine.checkpoint.writer import write_checkpoint
from gptoss_tui.engine.types import RANDOM_PREFIX


def open_checkpoint(directory: Path) -> Checkpoint:
    """Open the checkpoint in `directory`, whatever its form. Reads only headers. Raises CheckpointError.

    Looks for safetensors files of either layout (`open_safetensors`), then for `model.bin` in the directory itself or
    in its folder `metal/`. A path `random:NAME` stands for a model of random weights.
    """
    if str(directory).startswith(RANDOM_PREFIX):
        return random_model(str(directory))
    if not has_safetensors(directory) and (found := find_model_bin(directory)):
        return ModelBin(found)
    return open_safetensors(directory)


__all__ = ["Checkpoint", "TensorSpec", "open_checkpoint", "random_checkpoint", "tensor_table", "write_checkpoint"]
