"""Bounds of a turn: tool calls, repeats, tokens, context; and turns in which the model says too little."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.agent.budget import Limits
from gptoss_tui.agent.events import (
    AnswerDone,
    Notice,
    ReasoningDone,
    Recovered,
    StepFinished,
    ToolFinished,
    TurnFinished,
)
from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, call, make_agent, make_engine, only, run_turn
from tests.agent.test_interrupt import assert_valid

LIST = call("list_files", "{}")
LONG_THOUGHT = "<|channel|>analysis<|message|>" + "so I think and think and " * 60 + "<|end|>"
FINAL_HEADER = "<|start|>assistant<|channel|>final<|message|>"


async def test_too_many_calls_end_the_turn(tmp_path: Path) -> None:
    calls = [call("search_files", f'{{"pattern":"{n}"}}') for n in range(4)]
    engine = make_engine(*calls, ANSWER)
    agent = make_agent(engine, tmp_path, limits=Limits(tool_calls=3))
    events = await run_turn(agent)
    end = only(events, TurnFinished)
    assert end.reason == "limit"
    assert "limit of tool calls (3)" in end.error
    assert [e.status for e in events if isinstance(e, ToolFinished)] == ["ok", "ok", "ok", "cancelled"]
    assert_valid(agent, engine)
    assert only(await run_turn(agent, "continue"), TurnFinished).reason == "done"


async def test_the_same_call_with_the_same_result_is_told_to_stop_and_then_stopped(tmp_path: Path) -> None:
    engine = make_engine(LIST, LIST, LIST, LIST)
    agent = make_agent(engine, tmp_path)
    events = await run_turn(agent)
    outputs = [e.output for e in events if isinstance(e, ToolFinished)]
    assert outputs[:2] == ["[no files]", "[no files]"]
    assert outputs[2].startswith("[no files]")
    assert "Do not make it again" in outputs[2]
    assert "did not run" in outputs[3]
    assert only(events, TurnFinished).reason == "limit"
    assert_valid(agent, engine)


async def test_a_change_of_the_workspace_makes_repeats_reasonable(tmp_path: Path) -> None:
    engine = make_engine(LIST, LIST, CALL_PATCH, LIST, LIST, ANSWER)
    events = await run_turn(make_agent(engine, tmp_path))
    assert only(events, TurnFinished).reason == "done"
    assert not [e for e in events if isinstance(e, ToolFinished) and "Do not make it again" in e.output]


async def test_tokens_that_run_out_while_thinking_force_the_answer_once(tmp_path: Path) -> None:
    engine = make_engine(LONG_THOUGHT, "Here it is.<|return|>")
    agent = make_agent(engine, tmp_path, limits=Limits(tokens=80, answer_tokens=30))
    events = await run_turn(agent)
    end = only(events, TurnFinished)
    assert (end.reason, end.answer) == ("done", "Here it is.")
    assert only(events, ReasoningDone).text.startswith("so I think")
    assert "tokens ran out" in only(events, Recovered).what
    assert only(events, Recovered).item_id == only(events, AnswerDone).item_id
    assert engine.requests[0].params.max_tokens == 70
    assert engine.requests[1].params.max_tokens == 10
    assert load_tokenizer().decode(engine.requests[1].prompt).endswith("<|end|>" + FINAL_HEADER)
    assert engine.requests[1].cached == len(engine.requests[0].prompt) + 70
    assert_valid(agent, engine)


async def test_an_answer_that_meets_the_kept_back_tokens_goes_on_in_them(tmp_path: Path) -> None:
    engine = make_engine("<|channel|>final<|message|>" + "word " * 75 + "<|return|>")
    length = len(engine.scripts[0])
    agent = make_agent(engine, tmp_path, limits=Limits(tokens=80))
    events = await run_turn(agent)
    assert [e.generated_tokens for e in events if isinstance(e, StepFinished)] == [70, length - 70]
    assert only(events, TurnFinished) == TurnFinished(turn_id="t1", reason="done", answer="word " * 75)
    assert engine.requests[1].cached == len(engine.requests[0].prompt) + 70
    assert_valid(agent, engine)


async def test_an_answer_without_end_is_a_limit_and_is_kept(tmp_path: Path) -> None:
    engine = make_engine("<|channel|>final<|message|>" + "word " * 500)
    agent = make_agent(engine, tmp_path, limits=Limits(tokens=80))
    end = only(await run_turn(agent), TurnFinished)
    assert end.reason == "limit"
    assert end.answer.startswith("word word")
    assert end.error
    assert_valid(agent, engine)


async def test_a_call_that_is_cut_off_never_runs(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH.replace("+print('hello')", "+x = 1\n" * 100))
    agent = make_agent(engine, tmp_path, limits=Limits(tokens=80), mode="auto-edit")
    events = await run_turn(agent)
    assert only(events, TurnFinished).reason == "limit"
    assert only(events, ToolFinished).status == "error"
    assert "cut off" in only(events, ToolFinished).output
    assert not (tmp_path / "hello.py").exists()
    assert_valid(agent, engine)


async def test_a_full_context_is_said_before_anything_runs(tmp_path: Path) -> None:
    engine = make_engine(ANSWER, context=100)
    agent = make_agent(engine, tmp_path)
    end = only(await run_turn(agent), TurnFinished)
    assert end.reason == "limit"
    assert "context is full" in end.error
    assert engine.requests == []


async def test_a_huge_result_is_cut_to_what_fits(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("\n".join(f"line {n}" for n in range(400)))
    engine = make_engine(call("read_file", '{"path":"big.txt"}'), ANSWER, context=1700)
    agent = make_agent(engine, tmp_path)
    events = await run_turn(agent)
    output = only(events, ToolFinished).output
    assert "tokens left out" in output
    assert "line 399" in output
    assert only(events, TurnFinished).reason == "done"


@pytest.mark.parametrize("thought", ["<|channel|>analysis<|message|>Hm.<|return|>", "<|return|>", "<|endoftext|>"])
async def test_a_turn_without_an_answer_is_made_to_give_one(tmp_path: Path, thought: str) -> None:
    engine = make_engine(thought, "So: 4.<|return|>")
    agent = make_agent(engine, tmp_path)
    events = await run_turn(agent)
    assert only(events, TurnFinished).answer == "So: 4."
    assert only(events, TurnFinished).reason == "done"
    assert_valid(agent, engine)


async def test_a_preamble_alone_counts_as_the_answer(tmp_path: Path) -> None:
    engine = make_engine("<|channel|>commentary<|message|>Nothing to do.<|return|>")
    agent = make_agent(engine, tmp_path)
    events = await run_turn(agent)
    assert only(events, AnswerDone).preamble
    assert only(events, TurnFinished).answer == "Nothing to do."
    assert len(engine.requests) == 1


async def test_an_empty_answer_is_said(tmp_path: Path) -> None:
    events = await run_turn(make_agent(make_engine("<|channel|>final<|message|><|return|>"), tmp_path))
    assert only(events, AnswerDone).text == ""
    assert "empty answer" in only(events, Notice).text
    assert only(events, TurnFinished) == TurnFinished(turn_id="t1", reason="done")
