"""The memory plan against what the torch engine really allocates."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from gptoss_tui.engine.cache.history import MAX_MARKS
from gptoss_tui.engine.cache.kv_cache import KEPT_TOKENS, MAX_KEPT
from gptoss_tui.engine.checkpoint import tensor_table
from gptoss_tui.engine.checkpoint.random_weights import random_tensor
from gptoss_tui.engine.config import GPT_OSS_20B, GPT_OSS_120B, ModelConfig
from gptoss_tui.engine.planning.memory import check, plan
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.memory import PREFILL_CHUNK
from gptoss_tui.engine.torch.weights import load_weights
from gptoss_tui.engine.triton.memory import TRITON_NEEDS
from gptoss_tui.engine.types import Dtype
from gptoss_tui.errors import MemoryPlanError
from tests.engine.shapes import TINY

GB = 10**9
DTYPES: dict[Dtype, torch.dtype] = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def weight_bytes(config: ModelConfig) -> int:
    return sum(spec.nbytes for spec in tensor_table(config).values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("context", [5, 100, 3000])
def test_planned_kv_bytes_are_the_most_that_the_cache_takes(context: int, dtype: Dtype) -> None:
    cache = KVCache(TINY, context, PREFILL_CHUNK, DTYPES[dtype], torch.device("cpu"))
    for first in range(MAX_KEPT):
        length = min(context, KEPT_TOKENS // MAX_KEPT)
        cache.rewind(0)
        for start in range(0, length, PREFILL_CHUNK):
            step = min(PREFILL_CHUNK, length - start)
            cache.reserve(step)
            cache.commit([first] * step)
        cache.keep(length)
    cache.rewind(0)
    while cache.length < context:
        step = min(PREFILL_CHUNK if cache.length < context - 100 else 1, context - cache.length)
        cache.reserve(step)
        cache.commit([0] * step)
        cache.mark(cache.length)
    planned = plan(TINY, weight_bytes(TINY), context, dtype).kv_cache
    # Prompts that end where a snapshot is due share it.
    assert planned - 2 * MAX_MARKS * cache.bytes_per_token * TINY.sliding_window <= cache.nbytes <= planned


@pytest.mark.parametrize("dtype", DTYPES)
def test_planned_weights_are_what_the_engine_loads(dtype: Dtype) -> None:
    table = tensor_table(TINY)
    loaded = load_weights(lambda name: random_tensor(name, table[name], 0), TINY, DTYPES[dtype], torch.device("cpu"))
    small = 4 * (7 * TINY.hidden_size + 3 * TINY.num_attention_heads)  # norms and sinks are float32 in any dtype
    assert abs(plan(TINY, weight_bytes(TINY), 100, dtype).weights - loaded.nbytes) <= small


def test_the_published_models_in_numbers() -> None:
    short = plan(GPT_OSS_20B, weight_bytes(GPT_OSS_20B), 8192, available=16 * GB)
    whole = plan(GPT_OSS_20B, weight_bytes(GPT_OSS_20B), 131072, available=24 * GB)
    assert short.weights == 13_761_264_768
    assert 0.35e9 < short.kv_cache < 0.50e9
    assert 3.4e9 < whole.kv_cache < 4.0e9
    assert short.fits
    assert whole.fits
    assert not plan(GPT_OSS_120B, weight_bytes(GPT_OSS_120B), 8192, available=64 * GB).fits


def test_the_largest_context_fits_and_one_token_more_does_not() -> None:
    size = weight_bytes(GPT_OSS_20B)
    for available in (15 * GB, 16 * GB, 17 * GB):
        largest = plan(GPT_OSS_20B, size, None, available=available, parked=0)
        assert largest.context == largest.largest_context
        assert largest.fits
        assert not plan(GPT_OSS_20B, size, largest.context + 1, available=available).fits
    assert plan(GPT_OSS_20B, size, None, available=30 * GB).context == GPT_OSS_20B.max_context
    assert plan(GPT_OSS_20B, size, None, available=1 * GB).largest_context == 0


def test_check_says_what_would_fit() -> None:
    size = weight_bytes(GPT_OSS_20B)
    check(plan(GPT_OSS_20B, size, 8192, available=16 * GB))
    with pytest.raises(MemoryPlanError, match="nothing was loaded") as caught:
        check(plan(GPT_OSS_20B, size, 131072, available=16 * GB))
    largest = plan(GPT_OSS_20B, size, None, available=16 * GB).largest_context
    assert f"--context {largest}" in str(caught.value.hint)
    with pytest.raises(MemoryPlanError, match=r"13\.8 GB.* 8\.0 GB are available") as caught:
        check(plan(GPT_OSS_20B, size, 8192, available=8 * GB))
    assert "smaller model" in str(caught.value.hint)


def test_a_machine_that_does_not_say_what_it_has_is_not_refused() -> None:
    unknown = replace(plan(GPT_OSS_20B, 10**15, 8192, available=GB), available=None, largest_context=None)
    assert unknown.fits
    check(unknown)


def test_planning_does_not_import_torch() -> None:
    code = "import sys, gptoss_tui.engine.planning.memory; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def parked(available: int | None, wanted: int | None, **options: Any) -> tuple[int, int]:
    """Bytes for conversations that wait, in the engine's memory and in the machine's."""
    planned = plan(GPT_OSS_20B, weight_bytes(GPT_OSS_20B), 8192, available=available, parked=wanted, **options)
    return planned.parked, planned.parked_on_host


def test_conversations_that_wait_take_of_what_is_left() -> None:
    """As much as one context, but no more than half; all that was asked for, or none."""
    whole = plan(GPT_OSS_20B, weight_bytes(GPT_OSS_20B), 8192, available=GB)
    assert parked(64 * GB, None) == (whole.kv_cache, 0)
    assert parked(whole.total + 1000, None) == (500, 0)
    assert parked(whole.total, None) == (0, 0)
    assert parked(GB, None) == (0, 0)
    assert parked(64 * GB, 5 * GB) == (5 * GB, 0)
    assert parked(64 * GB, 0) == (0, 0)


@pytest.mark.parametrize("available", [16 * GB, 17 * GB, 19 * GB])
def test_a_context_that_nobody_asked_for_leaves_room_beside_it(available: int) -> None:
    """For half as many tokens of conversations that wait, and no token of it is lost."""
    size = weight_bytes(GPT_OSS_20B)
    chosen = plan(GPT_OSS_20B, size, None, available=available)
    grown = plan(GPT_OSS_20B, size, chosen.context + chosen.context // 2, available=available)
    snapshots = 40 * 10**6  # those of its last cuts, for which others make room
    assert grown.kv_cache - chosen.kv_cache - snapshots <= chosen.parked <= grown.kv_cache - chosen.kv_cache + snapshots
    assert chosen.fits
    assert chosen.context < (chosen.largest_context or 0)
    assert not plan(GPT_OSS_20B, size, chosen.context + 2, available=available, parked=chosen.parked).fits
    on_gpu = plan(GPT_OSS_20B, size, None, available=available, needs=TRITON_NEEDS, host=GB)
    assert on_gpu.context == on_gpu.largest_context, "there they go to the machine's memory"


def test_what_was_asked_for_is_part_of_what_has_to_fit() -> None:
    """The context makes room for it, where nobody asked for that."""
    size = weight_bytes(GPT_OSS_20B)
    with_it = plan(GPT_OSS_20B, size, None, available=18 * GB, parked=GB)
    without = plan(GPT_OSS_20B, size, None, available=17 * GB, parked=0)
    assert with_it.context == without.context
    assert with_it.fits
    too_much = plan(GPT_OSS_20B, size, 8192, available=18 * GB, parked=9 * GB)
    with pytest.raises(MemoryPlanError, match=r"waiting 9\.0 GB.* 18\.0 GB are available"):
        check(too_much)


def test_a_gpu_has_the_machine_for_what_it_cannot_hold() -> None:
    """Half of what both have left."""
    gpu: dict[str, Any] = {"needs": TRITON_NEEDS, "host": 8 * GB}
    used = plan(GPT_OSS_20B, weight_bytes(GPT_OSS_20B), 8192, available=GB, needs=TRITON_NEEDS)
    assert parked(80 * GB, None, **gpu) == (used.kv_cache, 0)
    assert parked(used.total + 2 * 10**8, None, **gpu) == (10**8, used.kv_cache - 10**8)
    assert parked(used.total, 100 * GB, **gpu) == (0, 4 * GB)
    assert parked(used.total, 0, **gpu) == (0, 0)
