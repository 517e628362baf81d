"""Memory needs of the torch engine besides the weights. Does not import torch: plans are made before it is loaded."""

from __future__ import annotations

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.planning.needs import DTYPE_BYTES, Needs, kv_bytes
from gptoss_tui.engine.types import Dtype

PREFILL_CHUNK = 512
"""Tokens. Each chunk unpacks every expert it uses once, and cancelling waits for the end of a chunk."""

SCORE_ROWS = 64
"""Positions whose logits are held at once while scoring: 51 MB in float32."""

SCORE_TILE = 1 << 26
"""Attention scores of one tile of queries: 256 MiB in float32, whatever the context."""

_RUNTIME_BYTES = 620_000_000
"""Resident size of a process with torch imported, its threads' buffers and oneDNN's compiled products; measured."""


def _kv_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    return kv_bytes(config, context, dtype, slots=config.sliding_window - 1 + PREFILL_CHUNK)


def _scratch_bytes(config: ModelConfig, context: int, dtype: Dtype) -> int:
    """The largest temporaries: activations of a chunk, scores of a tile, one token's unpacked experts, logits.

    Not all of them are alive at once, but an allocator keeps much of what was freed, so they are added up.
    """
    size = DTYPE_BYTES[dtype]
    widths = 4 * config.hidden_size + 2 * config.qkv_width + 3 * config.intermediate_size * config.experts_per_token
    activations = PREFILL_CHUNK * widths * size
    scores = min(SCORE_TILE, PREFILL_CHUNK * config.num_attention_heads * context) * (3 * size + 4)
    unpacked = config.experts_per_token * 2 * config.intermediate_size * config.hidden_size * (size + 2)
    logits = 2 * SCORE_ROWS * config.vocab_size * 4
    rope = context * config.head_dim * size
    return _RUNTIME_BYTES + activations + scores + unpacked + logits + rope


TORCH_NEEDS = Needs(_kv_bytes, _scratch_bytes)
