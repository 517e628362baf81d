"""Rings, segments, snapshots and kept prefixes: each position's key is where the kernels look for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gptoss_tui.engine.cache import kv_cache
from gptoss_tui.engine.checkpoint.tensors import tensor_table
from gptoss_tui.engine.config import GPT_OSS_20B, GPT_OSS_120B, ModelConfig
from gptoss_tui.engine.triton import memory
from gptoss_tui.engine.triton.kv_cache import KVCache
from tests.engine.triton.conftest import DEVICE, SHAPES

CONFIG = SHAPES["tiny"]
CHUNK = 8
TOKEN_BYTES = (CONFIG.num_hidden_layers - CONFIG.num_sliding_layers) * 2 * CONFIG.kv_width * 4
"""Key and value of a token in the full layers, in float32."""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> KVCache:
    """Segments of 16 tokens, snapshots every 16, a ring of 16 slots."""
    monkeypatch.setattr(memory, "SEGMENT", 16)
    monkeypatch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 16)
    return KVCache(CONFIG, 100, CHUNK, torch.float32, DEVICE)


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
    segment = 16 * TOKEN_BYTES
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


def in_use(cache: KVCache) -> int:
    """Bytes of all memory on the device that the cache holds, array by array; none is held twice."""
    waiting = [entry for entry in cache.parking.entries if not entry.on_host]
    parts = [*cache._full, *(part for entry in waiting for part in entry.memory.parts)]
    assert len({part.data_ptr() for part in parts}) == len(parts)
    return sum(part.nbytes for part in parts)


def test_what_waits_is_its_segments(cache: KVCache) -> None:
    """Whole ones as they are, the last one cut to its tokens; the rest serves the next sequence."""
    cache.parking.limit(10**9, 0)
    first, second = list(range(40)), list(range(200, 221))
    write(cache, first)
    places = [part.data_ptr() for part in cache._full]
    assert cache.begin(second) == 0
    assert [part.data_ptr() for part in cache._full] == places[2:]
    assert [part.shape[3] for part in cache.parking.entries[0].memory.parts] == [16, 16, 8]
    assert in_use(cache) == (40 + 16) * TOKEN_BYTES
    write(cache, second)
    assert_holds(cache, second)
    assert cache.begin([*first, 7]) == 40
    assert [part.data_ptr() for part in cache._full[:2]] == places[:2]
    assert in_use(cache) == (3 * 16 + 16 + 5) * TOKEN_BYTES
    assert_holds(cache, first)
    write(cache, [7] * 30)
    assert_holds(cache, [*first, *[7] * 30])
    assert cache.begin([*second, 7]) == 21
    assert_holds(cache, second)


def test_a_beginning_of_what_waits_is_copied(cache: KVCache) -> None:
    """In the middle of a segment, where the window was kept."""
    cache.parking.limit(10**9, 0)
    talk = list(range(60))
    write(cache, talk[:21])
    cache.mark(21)
    write(cache, talk[21:])
    other = [*talk[:22], *range(300, 340)]
    assert cache.begin(other) == 21
    assert_holds(cache, talk[:21])
    write(cache, other[21:])
    assert_holds(cache, other)
    assert cache.begin([*talk, 1]) == 60
    assert_holds(cache, talk)
    assert cache.begin([*other, 1]) == len(other)
    assert_holds(cache, other)


def test_what_a_device_cannot_hold_waits_in_the_machine(cache: KVCache) -> None:
    """The oldest moves, comes back from there or is copied from there, and goes when there is no room for it either."""
    talks = [[first, *range(100, 139)] for first in (1, 2, 3, 4)]
    cache.parking.limit(10**9, 0)
    for talk in talks[:3]:
        cache.begin(talk)
        write(cache, talk)
    size = cache.parking.entries[0].nbytes
    cache.parking.limit(size, 10**9)
    on_host = cache.parking.nbytes(on_host=True)
    cache.parking.limit(size, 2 * on_host)
    assert [entry.on_host for entry in cache.parking.entries] == [True, False]
    assert cache.begin([*talks[0], 5]) == 40
    assert_holds(cache, talks[0])
    assert [(entry.history.tokens[0], entry.on_host) for entry in cache.parking.entries] == [(2, True), (3, False)]
    assert cache.begin([2, *range(100, 117), *range(300, 320)]) == 16
    assert_holds(cache, [2, *range(100, 115)])
    assert [(entry.history.tokens[0], entry.on_host) for entry in cache.parking.entries] == [
        *((2, True), (3, True), (1, False))
    ]
    assert (cache.parking.nbytes(), cache.parking.nbytes(on_host=True)) == (size, 2 * on_host)
    write(cache, [2, *range(100, 117), *range(300, 320)][16:])
    cache.begin(talks[3])
    assert [(entry.history.tokens[0], entry.on_host) for entry in cache.parking.entries] == [
        *((3, True), (1, True), (2, False))
    ]
    for talk in (talks[2], talks[0]):
        assert cache.begin([*talk, 5]) == 40
        assert_holds(cache, talk)


@pytest.mark.parametrize("failing", ["_allocate", "_fill"])
def test_without_memory_to_come_back_it_waits_on(failing: str, cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is missing, what is there is whole."""

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    cache.parking.limit(10**9, 0)
    talks = [list(range(40)), list(range(200, 240))]
    for talk in talks:
        cache.begin(talk)
        write(cache, talk)
    with monkeypatch.context() as patch:
        patch.setattr(cache, failing, fail)
        with pytest.raises(torch.OutOfMemoryError):
            cache.begin([*talks[0], 1])
    assert (cache.tokens, len(cache.parking.entries)) == ([], 2)
    for talk in talks:
        assert cache.begin([*talk, 1]) == 40
        assert_holds(cache, talk)


def test_what_waits_gives_way_to_what_runs(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another program took the memory: the oldest goes first, and an error is left only when none is."""
    cache.parking.limit(10**9, 0)
    for first in (1, 2, 3):
        cache.begin([first, *range(39)])
        write(cache, [first, *range(39)])
    cache.parking.host_room = cache._host_bytes(cache.parking.entries[0])  # what a GPU reads is rounded up
    free, make = 1, torch.empty

    def little(*shape: object, **options: object) -> Tensor:
        nonlocal free
        if shape == (tuple(cache._full[0].shape),) and "pin_memory" not in options:
            free -= 1
            if free < 0 and any(not entry.on_host for entry in cache.parking.entries):
                raise torch.OutOfMemoryError
        return make(*shape, **options)  # type: ignore[call-overload,no-any-return]

    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", little)
        write(cache, list(range(40, 80)))
    assert [entry.history.tokens[0] for entry in cache.parking.entries] == [2]
    assert cache.parking.entries[0].on_host
    assert_holds(cache, [3, *range(39), *range(40, 80)])
    assert cache.begin([2, *range(39), 7]) == 40
    assert_holds(cache, [2, *range(39)])


def test_what_cannot_move_is_forgotten(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has no memory to give."""
    cache.parking.limit(10**9, 0)
    for talk in ([1, *range(39)], [2, *range(39)], [3]):
        cache.begin(talk)
        write(cache, talk)

    def fail(_: Tensor) -> Tensor:
        raise MemoryError

    monkeypatch.setattr("gptoss_tui.engine.triton.kv_cache._host_copy", fail)
    cache.parking.limit(cache.parking.entries[1].nbytes, 10**9)
    assert [entry.history.tokens[0] for entry in cache.parking.entries] == [2]
    cache.parking.limit(0, 10**9)
    assert cache.begin([5, 6]) == 0
    assert cache.parking.entries == []


def test_the_machines_room_is_for_what_copies_will_take_there(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned memory is more than what lies in it. Who goes makes room before the copy, and in vain nobody goes."""
    module, at_once = "gptoss_tui.engine.triton.kv_cache", []
    monkeypatch.setattr(f"{module}._host_size", lambda nbytes, *, pinned: 2 * nbytes)
    copy = cache.parking._to_host

    def watched(entry: Any) -> None:
        at_once.append(cache.parking.nbytes(on_host=True) + 2 * entry.nbytes)
        copy(entry)

    monkeypatch.setattr(cache.parking, "_to_host", watched)
    cache.parking.limit(10**9, 0)
    for first in (1, 2, 3, 4):
        cache.begin([first, *range(39)])
        write(cache, [first, *range(39)])
    size = cache.parking.entries[0].nbytes
    cache.parking.limit(2 * size, 2 * size - 1)
    assert [entry.history.tokens[0] for entry in cache.parking.entries] == [2, 3]
    assert at_once == [], "what would not fit is not copied"
    cache.parking.limit(size, 2 * size)
    cache.parking.limit(0, 2 * size)
    assert [(entry.history.tokens[0], entry.on_host) for entry in cache.parking.entries] == [(3, True)]
    assert at_once == [2 * size, 2 * size], "the first one was gone before the second one came"
    assert cache.parking.is_within


def test_a_window_that_came_back_is_no_more_than_it_is(cache: KVCache) -> None:
    """Going back a little behind a restored cut needs keys that were not restored."""
    cache.parking.limit(10**9, 0)
    talk = list(range(40))
    write(cache, talk)
    cache.begin([500, 501])
    write(cache, [500, 501])
    assert cache.begin([*talk, 1]) == 40
    assert cache.rewind(38) == 32
    assert_holds(cache, talk[:32])


@pytest.mark.parametrize(
    ("config", "context", "card", "expected"),
    [
        (GPT_OSS_20B, 131_072, 80, memory.LARGE_CHUNK),
        (GPT_OSS_20B, 131_072, 24, memory.LARGE_CHUNK),
        (GPT_OSS_20B, 131_072, 20, memory.PREFILL_CHUNK),
        (GPT_OSS_20B, 8192, 16, memory.PREFILL_CHUNK),
        (GPT_OSS_120B, 32_768, 80, memory.LARGE_CHUNK),
    ],
)
def test_long_prompts_take_large_chunks_where_there_is_room(
    config: ModelConfig, context: int, card: int, expected: int
) -> None:
    """Beside the weights, in memory that the plan leaves."""
    weights = sum(spec.nbytes for spec in tensor_table(config).values())
    assert memory.prefill_chunk(config, context, "bfloat16", card * 10**9 - weights) == expected


TURNS = st.tuples(st.integers(0, 3), st.integers(1, 12), st.integers(0, 6), st.floats(0, 1))


@given(st.lists(TURNS, max_size=15), st.sampled_from([0, 1, 3, 30]), st.sampled_from([0, 2, 30]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_turns_find_what_they_wrote(
    turns: list[tuple[int, int, int, float]], room: int, host_room: int, named: bool
) -> None:
    """Four conversations with one beginning, some of which wait in the machine; rooms are in segments."""
    begin = list(range(900, 920))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "SEGMENT", 16)
        patch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 16)
        patch.setattr(kv_cache, "KEPT_TOKENS", 0)
        cache = KVCache(CONFIG, 200, CHUNK, torch.float32, DEVICE)
        segment = 16 * TOKEN_BYTES
        cache.parking.limit(room * segment, host_room * segment)
        talks = [list(begin) for _ in range(4)]
        for count, (talk, new, answer, back) in enumerate(turns):
            said = talks[talk][: 20 + int(min(1.0, 2 * back) * (len(talks[talk]) - 20))]
            prompt = [*said, *(100 * count + n for n in range(new))]
            held = cache.begin(prompt)
            assert_holds(cache, prompt[:held])
            if named and held < 20:
                write(cache, prompt[held:20])
                cache.keep(20)
            write(cache, prompt[cache.length :])
            cache.mark(len(prompt) - 1, opens=True)
            write(cache, [5000 + count] * answer)
            talks[talk] = list(cache.tokens)
            assert_holds(cache, talks[talk])
            assert in_use(cache) <= 13 * segment + cache.parking.nbytes()
            assert cache.parking.is_within
