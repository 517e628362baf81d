"""One generation: tokens to events, whatever the batches are."""

from __future__ import annotations

import itertools

import pytest

from gptoss_tui.agent.events import (
    AnswerDelta,
    AnswerDone,
    Event,
    ReasoningDelta,
    ReasoningDone,
    Recovered,
    ToolCallDelta,
)
from gptoss_tui.agent.stream import SampledCall, StepStream
from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, HELLO_PATCH
from tests.agent.scripted_engine import ids_of

PREAMBLE = "<|channel|>commentary<|message|>I add it 🌍.<|end|><|start|>assistant"


def new_stream() -> StepStream:
    numbers = itertools.count(1)
    return StepStream(
        load_tokenizer(), lambda: f"t1.{next(numbers)}", lambda recipient: recipient.removeprefix("functions.")
    )


def play(transcript: str, batch: int) -> tuple[StepStream, list[Event], int]:
    """The stream, its events and the number of tokens that counted."""
    stream, ids = new_stream(), ids_of(load_tokenizer(), transcript)
    events: list[Event] = []
    counted = 0
    for start in range(0, len(ids), batch):
        if stream.over:
            break
        count, new = stream.feed(ids[start : start + batch])
        counted += count
        events += new
    return stream, events + stream.finish(), counted


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_a_call_after_a_preamble_and_reasoning(batch: int) -> None:
    stream, events, counted = play(PREAMBLE + CALL_PATCH, batch)
    assert counted == len(ids_of(load_tokenizer(), PREAMBLE + CALL_PATCH))
    assert stream.call == SampledCall("t1.3", "functions.apply_patch", "apply_patch", HELLO_PATCH, "commentary", True)
    assert stream.preamble == "I add it 🌍."
    assert stream.answer is None
    done = [e for e in events if isinstance(e, (AnswerDone, ReasoningDone))]
    assert [(e.item_id, e.text) for e in done] == [("t1.1", "I add it 🌍."), ("t1.2", "I add the file.")]
    assert "".join(e.text for e in events if isinstance(e, AnswerDelta)) == "I add it 🌍."
    assert "".join(e.text for e in events if isinstance(e, ToolCallDelta)) == HELLO_PATCH
    assert {e.preamble for e in events if isinstance(e, (AnswerDelta, AnswerDone))} == {True}


def test_deltas_of_one_batch_are_joined() -> None:
    _, events, _ = play(CALL_PATCH, 1000)
    assert [e.text for e in events if isinstance(e, ReasoningDelta)] == ["I add the file."]
    _, events, _ = play(CALL_PATCH, 1)
    assert len([e for e in events if isinstance(e, ReasoningDelta)]) == 5


def test_tokens_of_the_items_add_up() -> None:
    transcript = PREAMBLE + CALL_PATCH.split("<|start|>", 1)[0]
    _, events, counted = play(transcript, 3)
    assert sum(e.tokens for e in events if isinstance(e, (AnswerDone, ReasoningDone))) == counted


def test_nothing_behind_an_answer_counts() -> None:
    stream, _, counted = play(ANSWER.replace("<|return|>", "<|end|>") + CALL_PATCH, 1000)
    assert stream.answer == "I created hello.py."
    assert stream.call is None
    assert counted == len(ids_of(load_tokenizer(), ANSWER))


def test_a_message_in_the_name_of_a_tool_ends_the_generation_at_its_header() -> None:
    header = "<|start|>functions.read_file to=assistant<|channel|>commentary<|message|>"
    before = "<|channel|>analysis<|message|>Hm.<|end|>"
    stream, events, counted = play(before + header + "a secret" + "<|end|>", 1)
    assert stream.over
    assert counted == len(ids_of(load_tokenizer(), before + header))
    assert not [e for e in events if "secret" in str(e)]
    assert [e for e in events if isinstance(e, Recovered)]


def test_what_is_cut_is_closed_with_what_it_has() -> None:
    stream, events, _ = play(CALL_PATCH.removesuffix("End Patch<|call|>"), 4)
    assert stream.call is not None
    assert not stream.call.complete
    stream, events, _ = play("<|channel|>final<|message|>I cre", 4)
    assert stream.answer == "I cre"
    assert isinstance(events[-1], AnswerDone)
    assert stream.open is None
