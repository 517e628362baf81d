"""Ways to run the torch model that must all give the same logits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.model import Transformer
from gptoss_tui.engine.torch.weights import load_weights

CONTEXT = 1024


@functools.cache
def float32_model(directory: Path) -> Transformer:
    """The checkpoint in `directory`, in float32 on the CPU, loaded once."""
    opened = open_checkpoint(directory)
    weights = load_weights(opened.read, opened.config, torch.float32, torch.device("cpu"))
    return Transformer(opened.config, weights, CONTEXT)


def new_cache(model: Transformer, chunk: int) -> KVCache:
    """An empty cache for chunks of up to `chunk` tokens. Unwritten slots are NaN: reading one would show."""
    cache = KVCache(model.config, CONTEXT, chunk, torch.float32, torch.device("cpu"))
    for buffer in cache.buffers:
        buffer.fill_(torch.nan)
    return cache


def run_chunks(model: Transformer, tokens: Sequence[int], chunk: int = 512, cache: KVCache | None = None) -> Tensor:
    """Logits [T, V] of `tokens`, run `chunk` at a time after what `cache` (a new one by default) holds."""
    cache = new_cache(model, chunk) if cache is None else cache
    logits = []
    with torch.inference_mode():
        for start in range(0, len(tokens), chunk):
            ids = list(tokens[start : start + chunk])
            cache.reserve(len(ids))
            states = model.hidden(torch.tensor(ids), cache)
            cache.commit(ids)
            logits.append(model.logits(states))
    return torch.cat(logits)
