"""Checkpoints on disk: one canonical set of tensors, two layouts, read memory-mapped and written as a stream."""

from gptoss_tui.engine.checkpoint.random_weights import random_checkpoint
from gptoss_tui.engine.checkpoint.reader import Checkpoint, open_checkpoint
from gptoss_tui.engine.checkpoint.tensors import TensorSpec, tensor_table
from gptoss_tui.engine.checkpoint.writer import write_checkpoint

__all__ = ["Checkpoint", "TensorSpec", "open_checkpoint", "random_checkpoint", "tensor_table", "write_checkpoint"]
