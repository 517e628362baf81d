"""Checks, before the first request, that this device gives the same results for a prompt as for its tokens one by one.

MLX runs prompts through other kernels than single tokens: products of matrices, which compilers and chips have got
wrong while answers to short prompts stayed right (https://github.com/ml-explore/mlx/issues/3586).
"""

from __future__ import annotations

from dataclasses import replace

import mlx.core as mx

from gptoss_tui.engine.metal.decode import Decoder
from gptoss_tui.engine.metal.device import mlx_version
from gptoss_tui.engine.metal.kv_cache import KVCache
from gptoss_tui.engine.metal.memory import PREFILL_CHUNK
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.planning.choice import cpu_backend
from gptoss_tui.errors import WrongResultsError

TOKENS = 16
"""How many tokens from the beginning of a text also run one by one."""

LAST = 4
"""How many tokens from the end of a long chunk also run one by one, after the rest of the chunk in the cache. This
tests the rows of the last tiles, which kernels have got wrong on their own, and attention over all keys of a chunk."""

LENGTHS = (5, TOKENS, 77, PREFILL_CHUNK)
"""Lengths of chunks for which MLX uses different kernels: few rows; enough to be sorted by expert; rows that do not
fill whole tiles, with 4 tokens or more per expert, which are multiplied as matrices; and a full chunk."""

LAYERS = 2
"""How many layers run: a sliding one and a full one."""

STRIDES = (31, 1013, 4099, 7919, 12553)
"""Steps between the token ids of the texts to try. With the rounding of bfloat16, up to one of 15 tokens has chosen
another expert (of 128); if the same place is wrong in all five texts, that is no coincidence."""

TOLERANCE = 5e-2
"""Relative to the norm of what the layers add to a token, for both dtypes: some chips multiply float32 matrices with 10
bits of mantissa. Rounding gives a fifth of this; kernels that were wrong have been off by the whole norm."""


def check_prefill(model: Transformer, context: int) -> None:
    """Raise WrongResultsError if the first layers give other results for tokens in a chunk than one by one.

    A place counts as wrong only if it is wrong in every text: where two experts of a token score the same, either
    choice is right, but they add different things. A result that is not a number stays wrong.
    """
    chunk = min(PREFILL_CHUNK, context)
    first = _first_layers(model, chunk)
    lengths = sorted({min(length, chunk) for length in LENGTHS})
    least: mx.array | None = None
    for stride in STRIDES:
        ids = [(place + 1) * stride % model.config.vocab_size for place in range(chunk)]
        wanted = _one_by_one(first, ids[:TOKENS], _cache(first, len(ids), 1))
        errors = mx.concatenate([_errors(first, ids[:length], wanted) for length in lengths])
        least = errors if least is None else mx.minimum(least, errors)
        if mx.all(least < TOLERANCE).item():
            return
    assert least is not None
    raise _refusal(float(least.max().item()))


def _first_layers(model: Transformer, context: int) -> Transformer:
    layers = model.weights.layers[:LAYERS]
    config = replace(model.config, num_hidden_layers=len(layers))
    return Transformer(config, replace(model.weights, layers=layers), context)


def _one_by_one(model: Transformer, ids: list[int], cache: KVCache) -> mx.array:
    """States of tokens that run one by one with MLX's operations: the twins that our own kernels are compared with."""
    decoder, states = Decoder(model), list[mx.array]()
    for id in ids:
        cache.reserve(1)
        states.append(decoder.hidden(mx.array([id]), cache))
        mx.eval(states[-1])
        cache.commit([id])
    return mx.stack(states)


def _errors(model: Transformer, ids: list[int], wanted: mx.array) -> mx.array:
    """The errors of a chunk's first tokens, which should be `wanted`, and of the last ones if it is long."""
    cache = _cache(model, len(ids), len(ids))
    cache.reserve(len(ids))
    states = model.hidden(mx.array(ids), cache)
    assert states is not None  # nobody cancels
    count = min(len(ids), len(wanted))
    errors = _off(states[:count], wanted[:count], model.embed(mx.array(ids[:count])))
    if len(ids) < count + LAST:
        return errors
    cache.commit(ids[:-LAST])
    alone = _one_by_one(model, ids[-LAST:], cache)
    return mx.concatenate((errors, _off(states[-LAST:], alone, model.embed(mx.array(ids[-LAST:])))))


def _off(got: mx.array, wanted: mx.array, embedded: mx.array) -> mx.array:
    """The error of each state, relative to the norm of what the layers add to it."""
    return mx.linalg.norm(got - wanted, axis=-1) / mx.linalg.norm(wanted - embedded, axis=-1)


def _cache(model: Transformer, context: int, chunk: int) -> KVCache:
    return KVCache(model.config, context, chunk, model.weights.dtype)


def _refusal(error: float) -> WrongResultsError:
    return WrongResultsError(
        f"MLX {mlx_version()} reads prompts wrongly on this GPU: tokens in a chunk are not what they are one by one"
        f" (relative error {error:.3g})",
        hint="update MLX and macOS (`pip install --upgrade mlx`) and report the chip;"
        f" until then, `--backend {cpu_backend()}` runs on the CPU",
    )
