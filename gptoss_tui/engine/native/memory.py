"""What the CPU engine needs in memory beside the weights."""

from __future__ import annotations

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.memory import KEPT_TOKENS, MAX_KEPT, MAX_MARKS, SNAPSHOT_INTERVAL, Needs
from gptoss_tui.engine.types import Dtype

PREFILL_CHUNK = 512
"""Tokens. Each chunk reads every expert that it uses once; a cancel is seen between its layers."""

_RUNTIME_BYTES = 120_000_000
"""Resident size of a process with numpy, the library, and the threads' buffers; measured."""

_DTYPE_BYTES: dict[Dtype, int] = {"bfloat16": 2, "float32": 4}


def _kv_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """Keys and values of `context` tokens: full layers, the buffer of the sliding ones, snapshots, kept prefixes."""
    layer_token = 2 * config.kv_width * _DTYPE_BYTES[dtype]
    sliding, past = config.num_sliding_layers, config.sliding_window - 1
    snapshots = context // SNAPSHOT_INTERVAL + min(MAX_MARKS, context) + MAX_KEPT
    slots = past + PREFILL_CHUNK + min(past, context) * snapshots
    held = context + min(KEPT_TOKENS, MAX_KEPT * context)
    return layer_token * ((config.num_hidden_layers - sliding) * held + sliding * slots)


def _scratch_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """Activations of a chunk in float32 and as the kernels pack them, and logits."""
    widths = 4 * config.hidden_size + 2 * (config.qkv_width + config.query_width) + config.num_experts
    widths += 2 * config.experts_per_token * (config.intermediate_size + config.hidden_size)
    return _RUNTIME_BYTES + 4 * PREFILL_CHUNK * widths + 4 * 4 * config.vocab_size


NATIVE_NEEDS = Needs(_kv_bytes, _scratch_bytes)
