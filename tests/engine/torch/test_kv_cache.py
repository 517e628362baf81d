"""The KV cache on its own: a bounded sliding buffer against one that never forgets, rewinds with exact counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gptoss_tui.engine.cache import kv_cache
from gptoss_tui.engine.cache.history import MAX_MARKS
from gptoss_tui.engine.cache.prefix import prefix_digest
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.torch.kv_cache import KVCache
from tests.conformance.shapes import SMALL

CONFIG = replace(SMALL, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1, head_dim=2)
WINDOW = CONFIG.sliding_window
CPU = torch.device("cpu")


def make_cache(context: int = 256, chunk: int = 16, config: ModelConfig = CONFIG) -> KVCache:
    """A cache whose unwritten slots are NaN."""
    cache = KVCache(config, context, chunk, torch.float32, CPU)
    for buffer in cache.buffers:
        buffer.fill_(torch.nan)
    return cache


def keys_of(layer: int, ids: list[int], first: int) -> Tensor:
    """Keys [T, 1, 2] that name their layer, position and token; the values are their negatives."""
    return torch.tensor([[[1000.0 * layer + first + index, float(token)]] for index, token in enumerate(ids)])


def feed(cache: KVCache, ids: list[int]) -> None:
    """Run `ids` as one chunk, and check in every layer that exactly the keys that may be seen are, in order."""
    history = [*cache.tokens, *ids]
    first = cache.length
    cache.reserve(len(ids))
    for layer in range(CONFIG.num_hidden_layers):
        new = keys_of(layer, ids, first)
        keys, values = cache.append(layer, new, -new)
        start = max(0, first - WINDOW + 1) if CONFIG.is_sliding(layer) else 0
        expected = keys_of(layer, history[start:], start).transpose(0, 1)
        assert torch.equal(keys, expected)
        assert torch.equal(values, -expected)
    cache.commit(ids)


def feed_all(cache: KVCache, ids: list[int], chunk: int) -> None:
    """Run `ids` in chunks."""
    for start in range(0, len(ids), chunk):
        feed(cache, ids[start : start + chunk])


@given(st.lists(st.one_of(st.integers(1, 16), st.floats(0, 1), st.sampled_from(["keep", "restore"])), max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_walk_sees_what_a_cache_that_never_forgets_would_show(steps: list[int | float | str]) -> None:
    """An integer is a chunk of that many tokens; a fraction goes back to that part of the history, then on.

    What is kept may come back at any time, in place of what there is.
    """
    cache = make_cache(context=1024)
    feeds = 0
    kept: list[int] = []
    for step in steps:
        if step == "keep":
            kept = list(cache.tokens)
            cache.keep(cache.length)
        elif step == "restore":
            assert cache.begin([*kept, 99]) == len(kept)
            assert cache.tokens == kept
        elif isinstance(step, float):
            cut, history = int(step * cache.length), list(cache.tokens)
            resumed = cache.rewind(cut)
            assert resumed <= cut
            assert cache.tokens == history[:resumed]
        elif isinstance(step, int):
            feeds += 1
            feed(cache, [feeds * 100 + index for index in range(step)])


def test_a_chunk_that_was_not_committed_leaves_no_trace() -> None:
    """A forward that failed half-way is overwritten by the next one."""
    cache = make_cache()
    feed_all(cache, list(range(20)), 5)
    cache.reserve(4)
    cache.append(0, keys_of(9, [7, 7, 7, 7], 0), keys_of(9, [7, 7, 7, 7], 0))
    assert cache.tokens == list(range(20))
    feed(cache, [50, 51, 52])


def test_sliding_layers_take_bounded_memory() -> None:
    """Longer contexts add bytes to full layers only, whatever was run."""
    short, long = make_cache(context=128), make_cache(context=1024)
    feed_all(long, list(range(1000)), 16)
    per_token = 2 * CONFIG.num_key_value_heads * CONFIG.head_dim * 4  # keys and values, float32, a layer
    full_layers, sliding_layers = 1, 2
    assert long.bytes_per_token == full_layers * per_token
    sliding = sliding_layers * (WINDOW - 1 + 16) * per_token
    assert (short.nbytes, long.nbytes) == (sliding, sliding + 1024 * full_layers * per_token)


def test_full_layers_take_what_is_used() -> None:
    """They grow by half, or by a few tokens; what they hold stays."""
    cache = make_cache(context=2000)
    empty, sizes = cache.nbytes, []
    for start in range(0, 1200, 240):
        feed_all(cache, list(range(start, start + 240)), 16)
        sizes.append(cache._memory.slots)
        windows = sum(window.nbytes for window in cache._history.windows.values())
        assert cache.nbytes == empty + windows + sizes[-1] * cache.bytes_per_token
    assert sizes == [256, 512, 768, 1280, 1280]


def test_snapshots_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each interval, and the newest marks."""
    monkeypatch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 100)
    cache = make_cache(context=1024)
    empty = cache.nbytes + 1024 * cache.bytes_per_token
    for token in range(1000):
        feed(cache, [token])
        cache.mark(cache.length)
    snapshot = 2 * 2 * (WINDOW - 1) * CONFIG.num_key_value_heads * CONFIG.head_dim * 4
    assert cache.nbytes - empty == (10 + MAX_MARKS) * snapshot


@pytest.mark.parametrize(
    ("cut", "resumed"),
    [
        (200, 200),  # nothing to forget
        (199, 199),  # the buffer of 16 tokens and the window still holds what comes before
        (150, 128),  # gone: the snapshot at two intervals
        (128, 128),
        (127, 90),  # marked
        (90, 90),
        (91, 90),
        (89, 64),
        (63, 0),  # before the first snapshot
        (0, 0),
    ],
)
def test_rewind_goes_to_the_newest_state_that_exists(cut: int, resumed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far back, to the token."""
    monkeypatch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 64)
    cache = make_cache()
    feed_all(cache, list(range(91)), 16)
    cache.mark(90)
    feed_all(cache, list(range(91, 200)), 16)
    assert cache.rewind(cut) == resumed
    assert cache.tokens == list(range(resumed))
    feed_all(cache, [500 + index for index in range(40)], 16)


def test_a_rewind_forgets_the_snapshots_of_what_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tokens take those positions: the old states must not come back."""
    monkeypatch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 64)
    cache = make_cache()
    feed_all(cache, list(range(140)), 16)
    cache.mark(cache.length)
    cache.rewind(70)
    feed_all(cache, [1000 + index for index in range(100)], 16)
    assert cache.rewind(140) == 128
    feed_all(cache, [2000 + index for index in range(30)], 16)


def test_a_kept_prefix_takes_the_place_of_another_conversation() -> None:
    """Only where it helps: the sequence itself is used while it holds as much."""
    cache = make_cache()
    prefix = list(range(30))
    feed_all(cache, prefix, 10)
    cache.keep(30)
    feed_all(cache, list(range(30, 90)), 10)
    assert cache.begin([*range(90), 7]) == 90
    cache.rewind(0)
    feed_all(cache, [500 + index for index in range(90)], 10)
    assert cache.begin([*prefix[:29], 7]) == 0
    assert cache.begin(prefix) == 0, "a token has to be left that gives logits"
    assert cache.begin([*prefix, 7]) == 30
    feed_all(cache, [700 + index for index in range(40)], 10)
    assert cache.rewind(31) == 30, "its window is there still"
    assert cache.begin([*prefix, 7]) == 30


def test_kept_prefixes_are_few_and_the_oldest_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by tokens; one that is kept already is used again; one that is too long is not kept."""
    monkeypatch.setattr(kv_cache, "KEPT_TOKENS", 50)
    cache = make_cache()
    tokens = list(range(60))
    feed_all(cache, tokens, 10)
    cache.clear()
    empty = cache.nbytes
    digests = []
    for length in (10, 12, 14):
        cache.rewind(0)
        feed(cache, tokens[:length])
        cache.keep(length)
        digests.append(prefix_digest(tokens[:length]))
    assert cache.kept == tuple(digests)
    cache.keep(10)
    assert cache.kept == (digests[1], digests[2], digests[0])
    cache.rewind(0)
    feed(cache, tokens[:16])
    cache.keep(16)
    assert cache.kept == (digests[2], digests[0], prefix_digest(tokens[:16]))
    cache.rewind(0)
    feed_all(cache, tokens[:30], 10)
    cache.keep(30)
    assert cache.kept == (prefix_digest(tokens[:16]), prefix_digest(tokens[:30]))
    feed_all(cache, tokens[30:60], 10)
    cache.keep(60)
    assert cache.kept == (prefix_digest(tokens[:16]), prefix_digest(tokens[:30]))
    per_token = 2 * CONFIG.num_key_value_heads * CONFIG.head_dim * 4
    windows = 3  # of both, and of the cut at 60, which stays a free one in this sequence
    assert cache.nbytes - empty == 46 * per_token + windows * 2 * (WINDOW - 1) * per_token
    cache.clear()
    assert (cache.kept, cache.nbytes) == ((), empty)


def test_short_histories_need_no_snapshot() -> None:
    """While nothing has left the buffer, any cut is free."""
    cache = make_cache()
    feed(cache, list(range(15)))
    assert cache.rewind(3) == 3


def test_clear_forgets_everything() -> None:
    """And the cache can be used again."""
    cache = make_cache()
    feed_all(cache, list(range(100)), 16)
    empty = make_cache().nbytes + 256 * cache.bytes_per_token
    cache.clear()
    assert (cache.length, cache.nbytes) == (0, empty)
    feed_all(cache, list(range(30)), 16)


@pytest.mark.parametrize("position", [-1, 11])
def test_a_rewind_outside_the_history_is_refused(position: int) -> None:
    """It would invent keys."""
    cache = make_cache()
    feed(cache, list(range(10)))
    with pytest.raises(ValueError, match="cannot rewind"):
        cache.rewind(position)
