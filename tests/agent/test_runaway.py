"""Models that go round in circles or think without end: stopped, asked about, or left alone, as the person wants."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.agent.budget import Limits
from gptoss_tui.agent.events import (
    AnswerDone,
    ReasoningDone,
    Recovered,
    RunawayDetected,
    ToolFinished,
    TurnFinished,
)
from gptoss_tui.agent.factory import build_limits
from gptoss_tui.agent.runaway import MIN_COPIES, LoopDetector
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import Settings
from tests.agent.helpers import ANSWER, call, make_agent, make_engine, only, run_turn
from tests.agent.test_interrupt import assert_closed, assert_valid

LIST = call("list_files", "{}")
ROUND = "so I look again, and then " * 400
FINAL_HEADER = "<|start|>assistant<|channel|>final<|message|>"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.lists(st.integers(0, 9), max_size=50))
@settings(max_examples=200, deadline=None)
def test_every_short_loop_is_found_soon(loop: list[int], before: list[int]) -> None:
    detector = LoopDetector(100)
    found = [n for n, token in enumerate([*before, *loop * 200]) if detector.feed([token])]
    assert found
    assert found[0] + 1 > 100
    assert found[0] < len(before) + len(loop) + 100 + 16 + 1


@given(st.integers(1, 40), st.integers(0, 10))
@settings(max_examples=100, deadline=None)
def test_the_length_of_the_loop_is_told_however_tokens_are_batched(period: int, before: int) -> None:
    ids = [*range(900, 900 + before), *list(range(period)) * 400]
    detector = LoopDetector(200)
    periods = {detector.feed(ids[at : at + 7]) for at in range(0, len(ids), 7)}
    assert periods == {0, period}


@pytest.mark.parametrize(
    "ids",
    [
        list(range(1000)),
        [token for row in range(200) for token in (7, 7, 8, row, 9)],
        list(range(60)) * (MIN_COPIES - 1),
        [0] * 150,
    ],
    ids=["nothing repeats", "a table", "long parts, few times", "a short row"],
)
def test_what_is_no_loop_is_none(ids: list[int]) -> None:
    detector = LoopDetector(200)
    assert not any(detector.feed([token]) for token in ids)


def test_the_detector_can_be_off() -> None:
    assert LoopDetector(0).feed([1] * 5000) == 0


async def test_a_thought_in_circles_is_closed_and_the_answer_begins(tmp_path: Path) -> None:
    engine = make_engine("<|channel|>analysis<|message|>" + ROUND, "Here it is.<|return|>", context=4096)
    agent = make_agent(engine, tmp_path, limits=Limits(repeated_tokens=100))
    events = await run_turn(agent)
    end = only(events, TurnFinished)
    assert (end.reason, end.answer, end.incomplete) == ("done", "Here it is.", False)
    found = only(events, RunawayDetected)
    assert (found.kind, found.asked) == ("tokens", False)
    assert found.item_id == only(events, ReasoningDone).item_id
    assert only(events, ReasoningDone).tokens < 200
    assert "repeated itself" in only(events, Recovered).what
    assert load_tokenizer().decode(engine.requests[1].prompt).endswith("<|end|>" + FINAL_HEADER)
    assert_closed(events)
    assert_valid(agent, engine)


async def test_an_answer_in_circles_ends_and_is_incomplete(tmp_path: Path) -> None:
    engine = make_engine("<|channel|>final<|message|>" + ROUND, ANSWER)
    agent = make_agent(engine, tmp_path, limits=Limits(repeated_tokens=100))
    end = only(await run_turn(agent), TurnFinished)
    assert (end.reason, end.incomplete) == ("limit", True)
    assert "repeats itself" in end.error
    assert end.answer.startswith("so I look again")
    assert len(end.answer) < len(ROUND) // 4
    assert_valid(agent, engine)
    assert only(await run_turn(agent, "continue"), TurnFinished).reason == "done"


async def test_a_forced_answer_in_circles_ends_too(tmp_path: Path) -> None:
    engine = make_engine("<|channel|>analysis<|message|>" + ROUND, ROUND)
    agent = make_agent(engine, tmp_path, limits=Limits(repeated_tokens=100))
    events = await run_turn(agent)
    assert len([e for e in events if isinstance(e, RunawayDetected)]) == 2
    assert only(events, TurnFinished).reason == "limit"
    assert_valid(agent, engine)


async def test_a_call_in_circles_does_not_run_and_the_model_hears_it(tmp_path: Path) -> None:
    engine = make_engine(call("search_files", '{"pattern": "' + ROUND), ANSWER)
    agent = make_agent(engine, tmp_path, limits=Limits(repeated_tokens=100))
    events = await run_turn(agent)
    assert only(events, ToolFinished).status == "error"
    assert "cut off" in only(events, ToolFinished).output
    assert only(events, TurnFinished).reason == "done"
    assert_valid(agent, engine)


@pytest.mark.parametrize("channel", ["analysis", "commentary", "final"])
async def test_the_person_may_want_to_be_asked(tmp_path: Path, channel: str) -> None:
    engine = make_engine(f"<|channel|>{channel}<|message|>{ROUND}", ANSWER)
    agent = make_agent(engine, tmp_path, limits=Limits(repeated_tokens=100, runaways="ask"))
    events = await run_turn(agent)
    assert only(events, RunawayDetected).asked
    end = only(events, TurnFinished)
    assert (end.reason, end.incomplete) == ("limit", True)
    assert "continue" in end.hint
    assert len(engine.requests) == 1
    assert_valid(agent, engine)
    assert only(await run_turn(agent, "continue"), TurnFinished).reason == "done"


async def test_repeated_calls_ask(tmp_path: Path) -> None:
    engine = make_engine(LIST, LIST, ANSWER)
    agent = make_agent(engine, tmp_path, limits=Limits(repeats=2, runaways="ask"))
    events = await run_turn(agent)
    found = only(events, RunawayDetected)
    assert (found.kind, found.asked) == ("calls", True)
    assert found.item_id == [e for e in events if isinstance(e, ToolFinished)][-1].item_id
    assert only(events, TurnFinished).reason == "limit"
    assert "list_files" in only(events, TurnFinished).error
    assert_valid(agent, engine)
    assert only(await run_turn(agent, "continue"), TurnFinished).reason == "done"


async def test_repeated_calls_that_stop_are_told_to_people(tmp_path: Path) -> None:
    engine = make_engine(LIST, LIST, LIST, ANSWER)
    events = await run_turn(make_agent(engine, tmp_path))
    assert not only(events, RunawayDetected).asked
    assert only(events, TurnFinished).reason == "done"


async def test_nobody_looks_when_it_is_off(tmp_path: Path) -> None:
    engine = make_engine(*[LIST] * 6, "<|channel|>final<|message|>" + ROUND + "<|return|>", context=8192)
    events = await run_turn(make_agent(engine, tmp_path, limits=Limits(repeated_tokens=100, runaways="off")))
    assert not [e for e in events if isinstance(e, RunawayDetected)]
    assert only(events, TurnFinished).reason == "done"
    assert only(events, AnswerDone).text == ROUND


# -- thinking ---------------------------------------------------------------------------------------------------------

WORDS = " ".join(f"step {n} is done" for n in range(200))


@pytest.mark.parametrize("batch", [1, 7])
async def test_thinking_beyond_its_budget_is_closed_and_the_answer_begins(tmp_path: Path, batch: int) -> None:
    engine = make_engine("<|channel|>analysis<|message|>" + WORDS, "Done.<|return|>", batch=batch)
    agent = make_agent(engine, tmp_path, effort="low", limits=Limits(reasoning_tokens={"low": 60, "high": 5}))
    events = await run_turn(agent)
    end = only(events, TurnFinished)
    assert (end.reason, end.answer, end.incomplete) == ("done", "Done.", False)
    thought = only(events, ReasoningDone)
    assert 60 <= thought.tokens - 3 <= 60 + batch
    assert "used up" in only(events, Recovered).what
    assert load_tokenizer().decode(engine.requests[1].prompt).endswith("<|end|>" + FINAL_HEADER)
    assert_closed(events)
    assert_valid(agent, engine)


async def test_other_efforts_and_other_channels_are_not_bounded(tmp_path: Path) -> None:
    limits = Limits(reasoning_tokens={"low": 60, "high": 0})
    for effort, channel in (("medium", "analysis"), ("high", "analysis"), ("low", "final")):
        end = "<|end|><|start|>assistant" + ANSWER if channel == "analysis" else "<|return|>"
        engine = make_engine(f"<|channel|>{channel}<|message|>{WORDS}{end}")
        agent = make_agent(engine, tmp_path, effort=effort, limits=limits)
        assert only(await run_turn(agent), TurnFinished).reason == "done"
        assert len(engine.requests) == 1


async def test_the_budget_is_for_each_thought_before_a_call_or_the_answer(tmp_path: Path) -> None:
    thought = "<|channel|>analysis<|message|>" + "word by word, " * 10 + "<|end|>"
    engine = make_engine(call("list_files", "{}", thought), call("list_files", '{"path":"."}', thought), ANSWER)
    agent = make_agent(engine, tmp_path, limits=Limits(reasoning_tokens={"medium": 60}))
    events = await run_turn(agent)
    assert only(events, TurnFinished).reason == "done"
    assert not [e for e in events if isinstance(e, Recovered)]


async def test_a_turn_that_its_length_cuts_says_so_and_has_what_there_is(tmp_path: Path) -> None:
    engine = make_engine("<|channel|>commentary<|message|>First I look.<|end|><|start|>assistant" + LIST)
    agent = make_agent(engine, tmp_path, limits=Limits(tokens=9, answer_tokens=0))
    end = only(await run_turn(agent), TurnFinished)
    assert (end.reason, end.incomplete, end.answer) == ("limit", True, "First I look.")


def test_limits_come_from_the_settings() -> None:
    limits = build_limits(Settings(runaways="ask", repeated_calls=5, repeated_tokens=0, reasoning_tokens_high=7))
    assert (limits.runaways, limits.repeats, limits.repeated_tokens) == ("ask", 5, 0)
    assert limits.reasoning_tokens == {"low": 4096, "medium": 16384, "high": 7}
