"""How much device memory the Triton engine needs beside the weights. Plans are made before torch is imported."""

from __future__ import annotations

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.planning.needs import DTYPE_BYTES, Needs, kv_bytes
from gptoss_tui.engine.types import Dtype

PREFILL_CHUNK = 2048
"""Tokens per chunk. A chunk reads every expert that any of its tokens chose, and a cancel waits for its end."""

LARGE_CHUNK = 8192
"""Tokens per chunk on a fast GPU with enough memory: 8,192 tokens take 14 % less time than in four chunks."""

CAPTURED_TOKENS = 512
"""Tokens of the longest chunk that runs as a captured graph; the graphs' activations have memory of their own."""

SEGMENT = 4096
"""Tokens that the full layers' cache grows by: 101 MB for gpt-oss-20b in bfloat16."""

SCORE_ROWS = 64
"""Positions whose logits are in memory at once while scoring."""

_LIBRARIES = 400_000_000
"""Bytes for kernel code, workspaces of the vendor's library, captured steps, and fragmentation in the allocator."""


def ring_slots(config: ModelConfig, chunk: int) -> int:
    """Slots of a sliding layer's ring: a power of two that holds the window and a chunk after it."""
    return 1 << (config.sliding_window + chunk - 2).bit_length()


def segment_slots(context: int) -> int:
    """Tokens per segment of the full layers: a power of two, and no more than a short context needs."""
    return min(SEGMENT, 1 << (context - 1).bit_length())


def prefill_chunk(config: ModelConfig, context: int, dtype: Dtype, spare: int) -> int:
    """Tokens per chunk on a device that has `spare` bytes beside the weights.

    The memory plan assumes the small chunk. The large one may take at most half of what that plan leaves: the other
    half is for parked conversations.
    """

    def needed(chunk: int) -> int:
        return _kv_bytes(config, context, dtype, chunk) + _scratch_bytes(config, context, dtype, chunk)

    small, large = needed(PREFILL_CHUNK), needed(LARGE_CHUNK)
    return LARGE_CHUNK if 2 * (large - small) <= spare - small else PREFILL_CHUNK


def _kv_bytes(config: ModelConfig, context: int, dtype: Dtype, chunk: int = PREFILL_CHUNK) -> int:
    slots = ring_slots(config, min(chunk, context))
    return kv_bytes(config, context, dtype, slots=slots, segment=segment_slots(context))


def _scratch_bytes(config: ModelConfig, context: int, dtype: Dtype, chunk: int = PREFILL_CHUNK) -> int:
    """Bytes for the activations of a chunk and a captured one, logits, rotary tables, and repacking experts at load."""
    size, chunk = DTYPE_BYTES[dtype], min(chunk, context) + min(CAPTURED_TOKENS, context)
    hidden, top = config.hidden_size, config.experts_per_token
    widths = 3 * hidden + config.qkv_width + 2 * config.query_width + top * (config.intermediate_size + hidden)
    activations = chunk * (widths * size + 2 * hidden * 4)
    experts = config.num_experts * 2 * config.intermediate_size * hidden * 17 // 32
    logits = (2 * SCORE_ROWS + 3) * config.vocab_size * 4
    return _LIBRARIES + activations + 3 * experts + logits + context * config.head_dim * 4


TRITON_NEEDS = Needs(_kv_bytes, _scratch_bytes, own_memory=True)
