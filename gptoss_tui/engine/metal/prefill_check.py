"""Before the first request: does this device read a prompt as it runs tokens one by one?

Prompts go through other kernels of MLX's than single tokens do: those of matrices, which compilers and chips have got
wrong while answers to short prompts stayed right (https://github.com/ml-explore/mlx/issues/3586).
"""

from __future__ import annotations

from dataclasses import replace

import mlx.core as mx

from gptoss_tui.engine.choice import cpu_backend
from gptoss_tui.engine.metal.decode import Decoder
from gptoss_tui.engine.metal.device import mlx_version
from gptoss_tui.engine.metal.kv_cache import KVCache
from gptoss_tui.engine.metal.memory import PREFILL_CHUNK
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.errors import WrongResultsError

TOKENS = 16
"""From the beginning of a text that also run one by one."""

LAST = 4
"""From the end of a long chunk that also run one by one, behind what the chunk left in the cache: rows of the last
tiles, which kernels have got wrong alone, and attention over as many keys as a chunk has."""

LENGTHS = (5, TOKENS, 77, PREFILL_CHUNK)
"""Of chunks, for each of which MLX takes other kernels: few rows; as many as are sorted by expert; rows that fill no
tile, with 4 tokens or more for an expert, which are multiplied as matrices; and a full one."""

LAYERS = 2
"""A sliding and a full one."""

STRIDES = (31, 1013, 4099, 7919, 12553)
"""Between the ids of the texts that are tried. Roundings as large as bfloat16 has let up to one of 15 tokens choose
another expert (of 128); the same place of five texts is no chance."""

TOLERANCE = 5e-2
"""Of the norm of what the layers add to a token, in either dtype: some chips multiply matrices of float32 with 10 bits
of mantissa. Roundings make a fifth of it; kernels that were wrong have been off by all of the norm."""


def check_prefill(model: Transformer, context: int) -> None:
    """Raises WrongResultsError where the first layers make something else of tokens in a chunk than one by one.

    A token at a place is wrong if it is so in each text. Where two of its experts are as good as each other, either is
    right, and a layer adds something else; what is no number stays wrong.
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
    """States of tokens that run alone, in MLX's operations: the twins that our own kernels are compared with."""
    decoder, states = Decoder(model), list[mx.array]()
    for id in ids:
        cache.reserve(1)
        states.append(decoder.hidden(mx.array([id]), cache))
        mx.eval(states[-1])
        cache.commit([id])
    return mx.stack(states)


def _errors(model: Transformer, ids: list[int], wanted: mx.array) -> mx.array:
    """How much tokens of a chunk are off: the first ones, which should be `wanted`, and the last ones of a long one."""
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
    """The error of each state, by the norm of what the layers add to it."""
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
