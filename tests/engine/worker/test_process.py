"""How the worker puts tokens together."""

from __future__ import annotations

from collections.abc import Iterator

from gptoss_tui.engine.types import Finished, GenerationEvent, PrefillProgress, Token, TokenBatch, Usage
from gptoss_tui.engine.worker.process import FRAME_SECONDS, batch_tokens

FINISHED = Finished("length", Usage(1, 0, 1, 8, 0.1, 0.1))


def batched(count: int, seconds_a_token: float) -> list[GenerationEvent]:
    """`count` tokens, one every `seconds_a_token` of a clock that stands still between them."""
    now = 0.0

    def events() -> Iterator[PrefillProgress | Token | Finished]:
        nonlocal now
        yield PrefillProgress(1, 1, 0)
        for token_id in range(count):
            now += seconds_a_token
            yield Token(token_id, 0.0)
        yield FINISHED

    return list(batch_tokens(events(), clock=lambda: now))


def sizes(events: list[GenerationEvent]) -> list[int]:
    return [len(event.tokens) for event in events if isinstance(event, TokenBatch)]


def test_the_first_token_goes_out_alone_and_the_rest_at_frame_rate() -> None:
    assert sizes(batched(10, FRAME_SECONDS / 3.5)) == [1, 4, 4, 1]


def test_slow_tokens_do_not_wait() -> None:
    assert sizes(batched(5, FRAME_SECONDS * 2)) == [1] * 5


def test_nothing_is_lost_or_reordered() -> None:
    events = batched(1000, FRAME_SECONDS / 20)
    assert isinstance(events[0], PrefillProgress)
    assert events[-1] is FINISHED
    batches = [event for event in events if isinstance(event, TokenBatch)]
    assert [token.id for batch in batches for token in batch.tokens] == list(range(1000))
    assert len(batches) < 60


def test_a_generation_without_tokens_has_no_empty_batch() -> None:
    assert batched(0, 1.0) == [PrefillProgress(1, 1, 0), FINISHED]
