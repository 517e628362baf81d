"""The bytes under every token, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from gptoss_tui.engine.config import GPT_OSS_20B, GPT_OSS_120B
from gptoss_tui.engine.planning.floor import NATIVE_INT8, TRITON_INT8, decode_bytes
from tests.engine.shapes import TINY


def test_the_published_models_read_what_is_known_of_them() -> None:
    assert round(decode_bytes(GPT_OSS_20B, "bfloat16", 0) / 1e9, 2) == 3.71
    assert round(decode_bytes(GPT_OSS_120B, "bfloat16", 0) / 1e9, 2) == 5.00


def test_a_model_by_hand() -> None:
    config = replace(TINY, num_hidden_layers=1)
    attention = 64 + 128 * 64 + 128 + 4 + 64 * 64 + 64
    router = 64 + 4 * 64 + 4
    outside = 64 + 80 * 64 + 64  # the last norm, the unembedding, one row of the embedding
    packed = 2 * ((192 * 64 + 64 * 96) // 2 + (192 * 64 + 64 * 96) // 32)
    biases = 2 * (192 + 64)
    assert decode_bytes(config, "bfloat16", 0) == 2 * (attention + router + outside + biases) + packed
    assert decode_bytes(config, "float32", 0) == 4 * (attention + router + outside + biases) + packed


def test_context_costs_the_window_in_one_half_of_the_layers_and_all_of_it_in_the_other() -> None:
    per_token = 2 * 2 * 16 * 2
    empty = decode_bytes(TINY, "bfloat16", 0)
    assert decode_bytes(TINY, "bfloat16", 5) - empty == 3 * 5 * per_token
    assert decode_bytes(TINY, "bfloat16", 100) - empty == (2 * 8 + 100) * per_token


def test_dense_layers_in_fewer_bits() -> None:
    """On the CPU 8.5 bits for each weight of attention's projections and 4.5 for the unembedding, in place of 16."""
    config = replace(TINY, num_hidden_layers=1)
    fewer = (128 * 64 + 64 * 64) * 7.5 / 8 + 80 * 64 * 11.5 / 8
    assert decode_bytes(config, "bfloat16", 0) - decode_bytes(config, "bfloat16", 0, NATIVE_INT8) == fewer
    assert round(decode_bytes(GPT_OSS_20B, "bfloat16", 0, NATIVE_INT8) / 1e9, 2) == 2.28
    assert round(decode_bytes(GPT_OSS_20B, "bfloat16", 0, TRITON_INT8) / 1e9, 2) == 2.53
