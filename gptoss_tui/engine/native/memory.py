"""How much memory the CPU engine needs beside the weights."""

from __future__ import annotations

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.planning.needs import Needs, kv_bytes
from gptoss_tui.engine.types import Dtype

PREFILL_CHUNK = 512
"""Tokens per chunk. Each chunk reads every expert that it uses once; a cancel takes effect between its layers."""

_RUNTIME_BYTES = 120_000_000
"""Resident size of a process with numpy, the library, and the threads' buffers; measured."""


def _kv_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    return kv_bytes(config, context, dtype, slots=config.sliding_window - 1 + PREFILL_CHUNK)


def _scratch_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """Bytes for the activations of a chunk, in float32 and as the kernels pack them, and for logits."""
    widths = 4 * config.hidden_size + 2 * (config.qkv_width + config.query_width) + config.num_experts
    widths += 2 * config.experts_per_token * (config.intermediate_size + config.hidden_size)
    return _RUNTIME_BYTES + 4 * PREFILL_CHUNK * widths + 4 * 4 * config.vocab_size


NATIVE_NEEDS = Needs(_kv_bytes, _scratch_bytes)
