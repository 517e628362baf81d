"""Rings, segments, snapshots and kept prefixes: each position's key is where the kernels look for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gptoss_tui.engine import kv_cache
from gptoss_tui.engine.triton import memory
from gptoss_tui.engine.triton.kv_cache import KVCache
from tests.engine.triton.conftest import SHAPES

CONFIG = SHAPES["tiny"]
CHUNK = 8


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> KVCache:
    """Segments of 16 tokens, snapshots every 16, a ring of 16 slots."""
    monkeypatch.setattr(memory, "SEGMENT", 16)
    monkeypatch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 16)
    return KVCache(CONFIG, 100, CHUNK, torch.float32, torch.device("cpu"))


def write(cache: KVCache, ids: list[int]) -> None:
    """Run `ids` through the cache: the key of a token is its id, the value its negative, in all layers."""
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        cache.reserve(len(chunk))
        for offset, token in enumerate(chunk):
            position = cache.length + offset
            cache._sliding[:, 0, :, position % cache.ring] = token
            cache._sliding[:, 1, :, position % cache.ring] = -token
            segment = cache._full[position // cache.segment]
            segment[:, 0, :, position % cache.segment] = token
            segment[:, 1, :, position % cache.segment] = -token
        cache.commit(chunk)


def read(cache: KVCache, layer: int, position: int) -> Tensor:
    """Key and value [2, K, D] of a position, by address, as a kernel finds them."""
    table, slots, segments = cache.table(layer)
    parts = [cache._sliding] if cache.config.is_sliding(layer) else cache._full
    address = table[:, position // slots % segments].tolist()
    found = [part[0, kind] for kind in (0, 1) for part in parts if part[0, kind].data_ptr() == address[kind]]
    assert len(found) == 2
    return torch.stack([part[:, position % slots] for part in found])


def assert_holds(cache: KVCache, ids: list[int]) -> None:
    """Everything that the next token sees is there."""
    assert cache.tokens == ids
    for layer in (0, 1):
        first = max(0, len(ids) - CONFIG.sliding_window + 1) if layer == 0 else 0
        for position in range(first, len(ids)):
            key, value = read(cache, layer, position)
            assert bool((key == ids[position]).all())
            assert bool((value == -ids[position]).all())


def test_what_was_written_is_found(cache: KVCache) -> None:
    """Over several segments and turns of the ring."""
    write(cache, list(range(70)))
    assert_holds(cache, list(range(70)))
    assert len(cache._full) == 5


def test_memory_is_allocated_when_a_token_needs_it(cache: KVCache) -> None:
    """A context that nobody fills costs nothing."""
    before = cache.nbytes
    write(cache, list(range(16)))
    segment = 16 * cache.bytes_per_token
    assert cache.nbytes - before - sum(s.nbytes for s in cache._history.windows.values()) == segment


@pytest.mark.parametrize("context", [5, 64, 5000])
def test_planned_bytes_are_the_most_that_the_cache_takes(context: int) -> None:
    """With every segment, snapshot, mark and kept prefix."""
    chunk = min(memory.PREFILL_CHUNK, context)
    cache = KVCache(CONFIG, context, chunk, torch.float32, torch.device("cpu"))
    planned = memory.TRITON_NEEDS.kv_bytes(CONFIG, context, "float32")
    for start in range(0, context, chunk):
        step = list(range(start, min(start + chunk, context)))
        cache.reserve(len(step))
        cache.commit(step)
        for back in range(1, min(20, len(step))):
            cache.mark(cache.length - back)
        cache.keep(cache.length)
    assert planned // 2 < cache.nbytes <= planned


@pytest.mark.parametrize("cut", [0, 3, 15, 16, 17, 37, 44, 49, 50])
def test_going_back(cache: KVCache, cut: int) -> None:
    """To any cut: free where the ring still holds the window, from the snapshot before it elsewhere."""
    ids = list(range(50))
    write(cache, ids)
    held = cache.rewind(cut)
    assert cut - 16 < held <= cut
    assert held == cut or cut < 50 - cache.ring + CONFIG.sliding_window - 1
    assert_holds(cache, ids[:held])
    other = ids[:held] + [100 + n for n in range(20)]
    write(cache, other[held:])
    assert_holds(cache, other)


def test_a_mark_makes_a_cut_free(cache: KVCache) -> None:
    """The end of a prompt, many tokens ago."""
    write(cache, list(range(21)))
    cache.mark(20)
    write(cache, list(range(21, 60)))
    assert cache.rewind(20) == 20
    assert_holds(cache, list(range(20)))


def test_a_kept_prefix_comes_back(cache: KVCache) -> None:
    """After another conversation took the sequence's place; and the copy is its own."""
    first, second = list(range(40)), [500, *range(1, 30)]
    write(cache, first[:21])
    cache.keep(21)
    write(cache, first[21:])
    cache.rewind(0)
    write(cache, second)
    assert cache.begin([*first[:21], 9, 9]) == 21
    assert_holds(cache, first[:21])
    write(cache, [7] * 30)
    assert_holds(cache, first[:21] + [7] * 30)
    cache.rewind(0)
    assert cache.begin(first) == 21
    assert_holds(cache, first[:21])


def test_a_longer_sequence_is_not_replaced(cache: KVCache) -> None:
    """A kept prefix is of use only when it is longer than what the sequence shares with the prompt."""
    write(cache, list(range(10)))
    cache.keep(10)
    write(cache, list(range(10, 30)))
    assert cache.begin(list(range(40))) == 30


def test_at_most_three_prefixes_are_kept(cache: KVCache) -> None:
    """The one that was used longest ago goes."""
    for start in (0, 100, 200, 0, 300):
        cache.rewind(0)
        write(cache, list(range(start, start + 5)))
        cache.keep(5)
    assert [key[0] for key in cache._kept] == [200, 0, 300]
