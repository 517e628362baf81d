"""Unpacked experts are kept within a bound, and are what unpacking gives."""

from __future__ import annotations

import torch

from gptoss_tui.engine.torch.expert_cache import ExpertCache
from gptoss_tui.engine.torch.mxfp4 import quantize
from gptoss_tui.engine.torch.weights import PackedExperts

ROWS, COLUMNS = 8, 64
NBYTES = ROWS * COLUMNS * 4


def experts(count: int, seed: int = 0) -> PackedExperts:
    weight = torch.randn(count, ROWS, COLUMNS, generator=torch.Generator().manual_seed(seed))
    blocks, scales = quantize(weight)
    return PackedExperts(blocks, scales, torch.zeros(count, ROWS))


def test_a_kept_weight_is_the_unpacked_one() -> None:
    packed, cache = experts(3), ExpertCache(16 * NBYTES)
    first = cache.weight(packed, 1, torch.float32)
    assert torch.equal(first, packed.weight(1, torch.float32))
    assert cache.weight(packed, 1, torch.float32) is first


def test_projections_do_not_share_experts() -> None:
    one, other, cache = experts(2, seed=1), experts(2, seed=2), ExpertCache(16 * NBYTES)
    cache.weight(one, 0, torch.float32)
    assert torch.equal(cache.weight(other, 0, torch.float32), other.weight(0, torch.float32))


def test_the_least_recently_used_goes_first_and_the_bound_holds() -> None:
    packed, cache = experts(12), ExpertCache(8 * NBYTES)
    kept = [cache.weight(packed, expert, torch.float32) for expert in range(8)]
    assert cache.weight(packed, 0, torch.float32) is kept[0]
    cache.weight(packed, 8, torch.float32)
    assert cache.nbytes == 8 * NBYTES
    assert cache.weight(packed, 0, torch.float32) is kept[0]
    assert cache.weight(packed, 1, torch.float32) is not kept[1]
    assert cache.nbytes == 8 * NBYTES


def test_a_large_weight_is_not_kept() -> None:
    packed, cache = experts(1), ExpertCache(8 * NBYTES - 1)
    assert torch.equal(cache.weight(packed, 0, torch.float32), packed.weight(0, torch.float32))
    assert cache.nbytes == 0
