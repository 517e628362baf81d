"""What an engine needs in memory besides the weights: the data type, and the part that all engines share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gptoss_tui.engine.cache.history import MAX_MARKS, SNAPSHOT_INTERVAL
from gptoss_tui.engine.cache.kv_cache import KEPT_TOKENS, MAX_KEPT
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.types import Dtype

DTYPE_BYTES: dict[Dtype, int] = {"bfloat16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes that an engine needs besides the weights: functions of model, context in tokens, and dtype.

    `own_memory`: the engine's device has its own memory; waiting conversations may also go to host memory.
    """

    kv_bytes: Callable[[ModelConfig, int, Dtype], int]
    scratch_bytes: Callable[[ModelConfig, int, Dtype], int]
    own_memory: bool = False


def kv_bytes(config: ModelConfig, context: int, dtype: Dtype, *, slots: int, segment: int = 1) -> int:
    """The maximum size in bytes of a `KVCache` for `context` tokens, with all its snapshots and kept prefixes.

    `slots` is the number of tokens that a sliding layer has room for; full layers grow by `segment` tokens.
    """
    layer_token = 2 * config.kv_width * DTYPE_BYTES[dtype]
    sliding, past = config.num_sliding_layers, config.sliding_window - 1
    windows = context // SNAPSHOT_INTERVAL + min(MAX_MARKS, context) + 1 + MAX_KEPT
    held = -(-context // segment) * segment + min(KEPT_TOKENS, MAX_KEPT * context)
    full = (config.num_hidden_layers - sliding) * held
    return layer_token * (full + sliding * (slots + min(past, context) * windows))
