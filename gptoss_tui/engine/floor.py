"""The floor under decode: the bytes that one token must read from memory, whatever the engine does."""

from __future__ import annotations

from gptoss_tui.engine.checkpoint import tensor_table
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.dtype import Dense
from gptoss_tui.engine.types import Dtype

_DTYPE_BYTES: dict[Dtype, int] = {"bfloat16": 2, "float32": 4}

# Bits of a weight in 8 and in 4 bits, each block of 32 of which has a scale of 16.
_EIGHT, _FOUR = 8.5, 4.5


def decode_bytes(config: ModelConfig, dtype: Dtype, context: int, dense: Dense = "exact") -> int:
    """Bytes read for one token at batch 1 with `context` tokens in the KV cache.

    Every dense weight in `dtype` once, but a single row of the embedding; of the experts, packed, the share that a
    token is routed to; the keys and values of all tokens, in sliding layers of those in the window. With `dense` in
    "int8" attention's projections are in 8 bits, and the unembedding is read as its coarse copy.
    """
    size = _DTYPE_BYTES[dtype]
    routed = config.experts_per_token / config.num_experts
    total = 0.0
    for name, spec in tensor_table(config).items():
        if name == "embedding.weight":
            total += config.hidden_size * size
        elif ".mlp.mlp" in name:
            total += routed * _in_memory(spec.nbytes, packed=spec.dtype == "U8", size=size)
        elif dense == "int8" and name == "unembedding.weight":
            total += spec.nbytes / 16 * _FOUR
        elif dense == "int8" and name.endswith((".attn.qkv.weight", ".attn.out.weight")):
            total += spec.nbytes / 16 * _EIGHT
        else:
            total += _in_memory(spec.nbytes, packed=False, size=size)
    return round(total) + _kv_bytes(config, size, context)


def _in_memory(nbytes: int, *, packed: bool, size: int) -> int:
    return nbytes if packed else nbytes // 2 * size


def _kv_bytes(config: ModelConfig, size: int, context: int) -> int:
    windows = config.num_sliding_layers * min(context, config.sliding_window)
    whole = (config.num_hidden_layers - config.num_sliding_layers) * context
    return 2 * config.kv_width * size * (windows + whole)
