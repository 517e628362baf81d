"""What the Triton engine needs on the device beside the weights. No torch here: plans are made before it is loaded."""

from __future__ import annotations

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.needs import DTYPE_BYTES, Needs, kv_bytes
from gptoss_tui.engine.types import Dtype

PREFILL_CHUNK = 2048
"""Tokens. A chunk reads every expert that one of its tokens chose, and a cancel waits for its end."""

LARGE_CHUNK = 8192
"""Tokens where there is memory enough and the card is fast: 8,192 tokens take 14 % less time than in four chunks."""

CAPTURED_TOKENS = 512
"""The longest chunk that runs as a captured graph, whose activations have memory of their own."""

SEGMENT = 4096
"""Tokens that the full layers' cache grows by: 101 MB for gpt-oss-20b in bfloat16."""

SCORE_ROWS = 64
"""Positions whose logits are in memory at once while scoring."""

_LIBRARIES = 400_000_000
"""Code of kernels, workspaces of the vendor's library, captured steps, and what an allocator cannot give back."""


def ring_slots(config: ModelConfig, chunk: int) -> int:
    """Slots of a sliding layer: a power of two that holds the window and a chunk behind it."""
    return 1 << (config.sliding_window + chunk - 2).bit_length()


def segment_slots(context: int) -> int:
    """Tokens of a segment of the full layers: a power of two, no more than a short context needs."""
    return min(SEGMENT, 1 << (context - 1).bit_length())


def prefill_chunk(config: ModelConfig, context: int, dtype: Dtype, spare: int) -> int:
    """Tokens of a chunk on a device that has `spare` bytes beside the weights.

    The memory plan is that of the smaller chunk. What the large one takes beyond it is half of what the plan leaves at
    most: the other half is for conversations that wait.
    """

    def needed(chunk: int) -> int:
        return _kv_bytes(config, context, dtype, chunk) + _scratch_bytes(config, context, dtype, chunk)

    small, large = needed(PREFILL_CHUNK), needed(LARGE_CHUNK)
    return LARGE_CHUNK if 2 * (large - small) <= spare - small else PREFILL_CHUNK


def _kv_bytes(config: ModelConfig, context: int, dtype: Dtype, chunk: int = PREFILL_CHUNK) -> int:
    slots = ring_slots(config, min(chunk, context))
    return kv_bytes(config, context, dtype, slots=slots, segment=segment_slots(context))


def _scratch_bytes(config: ModelConfig, context: int, dtype: Dtype, chunk: int = PREFILL_CHUNK) -> int:
    """Activations of a chunk and a captured one, logits, rotary tables, and a layer's experts twice while repacked."""
    size, chunk = DTYPE_BYTES[dtype], min(chunk, context) + min(CAPTURED_TOKENS, context)
    hidden, top = config.hidden_size, config.experts_per_token
    widths = 3 * hidden + config.qkv_width + 2 * config.query_width + top * (config.intermediate_size + hidden)
    activations = chunk * (widths * size + 2 * hidden * 4)
    experts = config.num_experts * 2 * config.intermediate_size * hidden * 17 // 32
    logits = (2 * SCORE_ROWS + 3) * config.vocab_size * 4
    return _LIBRARIES + activations + 3 * experts + logits + context * config.head_dim * 4


TRITON_NEEDS = Needs(_kv_bytes, _scratch_bytes, own_memory=True)
