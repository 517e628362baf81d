"""Conversations that wait, in a cache that shows every key: who is parked, taken, copied and forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gptoss_tui.engine.cache import kv_cache
from gptoss_tui.engine.torch.kv_cache import KVCache
from tests.engine.torch.test_kv_cache import WINDOW, feed_all, make_cache

ROOM = 10**6
BEGIN = list(range(900, 930))
"""What conversations have in common."""


def lot(cache: KVCache) -> list[list[int]]:
    """The tokens of what waits, the oldest first."""
    return [entry.history.tokens for entry in cache.parking.entries]


def ask(cache: KVCache, prompt: list[int], cut: int = 0, answer: int = 0) -> int:
    """A request: `prompt` is begun and run, what is up to `cut` named, and `answer` tokens follow; the tokens reused.

    Every key in sight is compared on the way.
    """
    reused = cache.begin(prompt)
    assert cache.tokens == prompt[:reused]
    for end in sorted({max(reused, cut), len(prompt)}):
        feed_all(cache, prompt[cache.length : end], 16)
        if cache.length == cut:
            cache.keep(cut)
    cache.mark(len(prompt) - 1, opens=len(prompt) > cut)
    feed_all(cache, [7000 + len(prompt) + n for n in range(answer)], 1)
    return reused


@pytest.fixture
def cache() -> KVCache:
    """With room for all that a test parks."""
    made = make_cache(context=1024)
    made.parking.limit(ROOM, 0)
    return made


TALKS = st.tuples(st.integers(0, 3), st.integers(1, 30), st.integers(0, 12), st.floats(0, 1))
CUTS = st.sampled_from([len(BEGIN), 0])


@given(st.lists(TALKS, max_size=30), st.sampled_from([0, 3000, 9000, ROOM]), st.sampled_from([0, 6144]), CUTS)
@settings(max_examples=60, deadline=None)
def test_any_turns_see_what_a_cache_that_never_forgets_would_show(
    turns: list[tuple[int, int, int, float]], room: int, kept: int, cut: int
) -> None:
    """Four conversations with one beginning, in any order: new tokens, an answer, sometimes going back before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kv_cache, "KEPT_TOKENS", kept)
        patch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 32)
        cache = make_cache(context=1024)
        cache.parking.limit(room, 0)
        talks = {talk: list(BEGIN) for talk in range(4)}
        for count, (talk, new, answer, back) in enumerate(turns):
            if back < 0.2:
                talks[talk] = talks[talk][: len(BEGIN) + int(back * 5 * (len(talks[talk]) - len(BEGIN)))]
            prompt = [*talks[talk], *(100 * count + n for n in range(new))]
            ask(cache, prompt, cut, answer)
            talks[talk] = list(cache.tokens)
            waiting = cache.parking.entries
            assert cache.parking.nbytes() == sum(bytes_of(entry) for entry in waiting) <= room
            flats = [cache.buffers[0], *(entry.memory.flat for entry in waiting)]
            assert len({flat.data_ptr() for flat in flats}) == len(flats), "nobody shares memory"


def bytes_of(entry: Any) -> int:
    """What a parked sequence holds, array by array; of its full layers what is in use."""
    windows: list[Tensor] = [entry.window, *entry.history.windows.values()]
    per_token = entry.memory.nbytes // entry.memory.slots
    assert entry.memory.slots * per_token <= entry.memory.flat.nbytes
    return entry.memory.slots * per_token + sum(window.nbytes for window in windows)


def test_two_conversations_take_turns_without_a_copy(cache: KVCache) -> None:
    """The memory of the full layers changes hands."""
    first, second = list(range(100)), list(range(500, 560))
    ask(cache, first)
    memory = cache.buffers[0].data_ptr()
    assert ask(cache, second) == 0
    assert [entry.memory.flat.data_ptr() for entry in cache.parking.entries] == [memory]
    assert ask(cache, [*first, 1]) == 100
    assert cache.buffers[0].data_ptr() == memory
    assert lot(cache) == [second]
    assert ask(cache, [*second, 2]) == 60
    assert lot(cache) == [[*first, 1]]


def test_a_conversation_that_goes_on_parks_nothing(cache: KVCache) -> None:
    """However much of an answer is not part of the next prompt, and from whichever of its prompts it goes on."""
    prompt = list(range(40))
    ask(cache, prompt, answer=200)
    assert ask(cache, [*prompt, 1, 2]) == 39
    ask(cache, [*prompt, 1, 2, *range(50, 90)], answer=20)
    assert ask(cache, [*prompt, 8, *range(60)]) == 39
    assert ask(cache, [*prompt, 9]) == 39
    assert lot(cache) == []


def test_a_new_conversation_with_the_same_beginning_is_a_fork(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the one that runs and from one that waits; both stay."""
    monkeypatch.setattr(kv_cache, "KEPT_TOKENS", 0)
    talks = [[*BEGIN, *range(first, first + 50)] for first in (100, 200, 300)]
    reused = [ask(cache, talk, len(BEGIN)) for talk in talks]
    assert reused == [0, 30, 30]
    assert ask(cache, list(range(20))) == 0
    assert ask(cache, [*BEGIN, *range(400, 450)], len(BEGIN)) == 30
    assert lot(cache) == [*talks, list(range(20))]
    assert [ask(cache, [*talk, 1], len(BEGIN)) for talk in talks] == [80, 80, 80]


def test_a_beginning_that_nobody_named_is_shared_while_its_window_is_there(cache: KVCache) -> None:
    """At any place that the sliding layers still hold; and then it is one that is known."""
    first, second = [*BEGIN, 1, 2], [*BEGIN, 5, 6, 7]
    ask(cache, first)
    assert ask(cache, second) == 30
    ask(cache, list(range(50)))
    assert ask(cache, [*BEGIN, 10, 11, 12]) == 30
    assert [ask(cache, [*talk, 1]) for talk in (first, second)] == [32, 33]


def test_a_prefix_that_was_read_ahead_is_no_conversation(cache: KVCache) -> None:
    """Who begins with it goes on with nothing; nor is it parked when it is kept anyway."""
    ask(cache, BEGIN, len(BEGIN))
    ask(cache, list(range(40)))
    assert lot(cache) == []
    assert ask(cache, [*BEGIN, *range(100, 150)], len(BEGIN)) == 30
    assert ask(cache, [*BEGIN, *range(200, 250)], len(BEGIN)) == 30
    assert lot(cache) == [list(range(40)), [*BEGIN, *range(100, 150)]]


def test_what_is_lost_little_of_is_not_parked(cache: KVCache) -> None:
    """It would take the memory of all."""
    ask(cache, list(range(160)))
    ask(cache, [*range(155), 1, 2])
    assert (cache.length, lot(cache)) == (157, [])
    ask(cache, [*range(140), 1, 2])
    assert lot(cache) == [[*range(155), 1, 2]]


def test_what_was_used_longest_ago_makes_room(cache: KVCache) -> None:
    """Coming back is being used. What is larger than all the room is not parked, and nobody goes for it."""
    talks = [[first, *range(10, 40)] for first in range(3)]
    for talk in talks:
        ask(cache, talk)
    cache.parking.limit(cache.parking.nbytes() * 5 // 4, 0)
    ask(cache, [*talks[0], 1])
    ask(cache, list(range(100, 900)))
    assert [tokens[0] for tokens in lot(cache)] == [2, 0]
    ask(cache, [7])
    assert [tokens[0] for tokens in lot(cache)] == [2, 0]
    cache.parking.limit(0, 0)
    assert lot(cache) == []


def test_where_two_do_not_fit_the_one_that_is_begun_with_is_taken(
    cache: KVCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have to go for the other one: no copy of it is made, and the room is kept."""
    monkeypatch.setattr(kv_cache, "KEPT_TOKENS", 0)
    ask(cache, [*BEGIN, *range(50)], len(BEGIN))
    ask(cache, list(range(500, 580)))
    memory = cache.parking.entries[0].memory.flat.data_ptr()
    cache.parking.limit(cache.parking.nbytes() * 5 // 4, 0)
    assert ask(cache, [*BEGIN, *range(200, 210)], len(BEGIN)) == 30
    assert lot(cache) == [list(range(500, 580))]
    assert cache.buffers[0].data_ptr() == memory


def test_the_cuts_of_what_waits_stay_free(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends of prompts, intervals and its end; between them the one before."""
    monkeypatch.setattr(kv_cache, "SNAPSHOT_INTERVAL", 64)
    talk = list(range(200))
    ask(cache, talk[:20])
    ask(cache, talk[:90])
    ask(cache, talk)
    for cut, reused in ((200, 200), (199, 199), (195, 192), (180, 128), (128, 128), (100, 89), (89, 89), (70, 64)):
        ask(cache, list(range(500, 520)))
        assert ask(cache, [*talk[:cut], 999], answer=3) == reused
        ask(cache, list(range(500, 520)))
        ask(cache, talk)


def test_much_more_memory_than_tokens_stays_with_the_sequence(cache: KVCache) -> None:
    """A long conversation that was cut short waits in what it needs."""
    talk = list(range(40))
    ask(cache, talk)
    ask(cache, list(range(900)))
    memory, slots = cache.buffers[0].data_ptr(), cache._memory.slots
    ask(cache, [*talk, 1, 2])
    ask(cache, list(range(500, 520)))
    assert (lot(cache), cache.parking.entries[0].memory.slots) == ([[*talk, 1, 2]], 42)
    assert (cache.buffers[0].data_ptr(), cache._memory.slots) == (memory, slots)
    assert ask(cache, [*talk, 1, 2, *range(600)]) == 42


def test_a_sequence_is_put_aside_for_what_is_none(cache: KVCache) -> None:
    """As before scores."""
    talk = list(range(60))
    ask(cache, talk)
    cache.put_aside()
    assert cache.tokens == []
    feed_all(cache, list(range(100, 130)), 16)
    cache.rewind(0)
    assert ask(cache, [*talk, 1]) == 60
    cache.parking.limit(0, 0)
    cache.put_aside()
    assert (cache.tokens, lot(cache)) == ([], [])


def test_without_memory_for_it_nothing_is_parked_and_the_prompt_is_read(
    cache: KVCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sequence is lost, as if there were no room."""
    ask(cache, list(range(60)))
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_empty", _no_memory)
        assert ask(cache, list(range(500, 560))) == 0
    assert lot(cache) == []


def test_without_memory_for_it_no_prefix_is_kept(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request goes on, and the next one keeps it."""
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_full_copy", _no_memory)
        assert ask(cache, [*BEGIN, 1, 2], cut=len(BEGIN)) == 0
    assert cache.kept == ()
    assert ask(cache, [*BEGIN, 1, 2, 3], cut=len(BEGIN)) == len(BEGIN) + 2
    assert ask(cache, [*BEGIN, 5, 6], cut=len(BEGIN)) == len(BEGIN)


def test_what_cannot_come_back_waits_on(cache: KVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request fails; what is there is whole, and the next one may find memory."""
    first, second = list(range(60)), list(range(500, 560))
    ask(cache, first)
    ask(cache, second)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_give_full", _no_memory)
        with pytest.raises(MemoryError):
            cache.begin([*first, 1])
    assert cache.tokens == []
    assert sorted(lot(cache)) == [first, second]
    assert ask(cache, [*first, 1]) == 60
    assert ask(cache, [*second, 1]) == 60


def test_windows_that_were_copied_are_their_own(cache: KVCache) -> None:
    """A fork that goes on does not write to what it was forked from."""
    talk = [*BEGIN, *range(100, 100 + 3 * WINDOW)]
    ask(cache, talk, len(BEGIN))
    ask(cache, [*BEGIN, *range(300, 300 + 5 * WINDOW)], len(BEGIN), answer=40)
    assert ask(cache, talk, len(BEGIN), answer=40) == len(talk) - 1


def _no_memory(*_: object) -> None:
    raise MemoryError
