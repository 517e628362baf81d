"""How much memory the Metal engine needs beside the weights. Plans are made before MLX is imported."""

from __future__ import annotations

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.planning.needs import DTYPE_BYTES, Needs, kv_bytes
from gptoss_tui.engine.types import Dtype

PREFILL_CHUNK = 512
"""Tokens per chunk. A chunk reads every expert that any of its tokens chose."""

GROWTH = 4096
"""Tokens that the full layers' cache grows by: 101 MB for gpt-oss-20b in bfloat16."""

SCORE_ROWS = 64
"""Positions whose logits are in memory at once while scoring."""

CACHE_LIMIT = 256_000_000
"""Bytes of freed buffers that MLX may keep for reuse."""

_RUNTIME_BYTES = 300_000_000
"""A process with MLX and its compiled kernels; an estimate, to be measured on a Mac (docs/metal.md)."""


def _kv_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """Bytes for all layers' arrays (a full layer exists twice while it grows), snapshots, and kept prefixes."""
    slots = config.sliding_window - 1 + min(PREFILL_CHUNK, context)
    growing = 2 * config.kv_width * DTYPE_BYTES[dtype] * context
    return kv_bytes(config, context, dtype, slots=slots, segment=min(GROWTH, context)) + growing


def _scratch_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """Bytes for the activations of a chunk, logits, rotary tables, and freed buffers that MLX keeps."""
    size, chunk = DTYPE_BYTES[dtype], min(PREFILL_CHUNK, context)
    widths = 4 * config.hidden_size + 2 * config.qkv_width + config.query_width
    widths += config.experts_per_token * (4 * config.intermediate_size + 2 * config.hidden_size)
    logits = (SCORE_ROWS + 2) * config.vocab_size * (size + 4)
    rope = context * config.head_dim * 4
    return _RUNTIME_BYTES + CACHE_LIMIT + chunk * widths * size + chunk * config.hidden_size * 8 + logits + rope


METAL_NEEDS = Needs(_kv_bytes, _scratch_bytes)
