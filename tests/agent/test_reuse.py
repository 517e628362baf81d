"""How much of a long conversation is read again: what `step_finished` says of each step of 30 turns with tools."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from gptoss_tui.agent.events import StepFinished, TurnFinished
from tests.agent.helpers import ANSWER, THINK, call, make_agent, make_engine, only, run_turn

TURNS = 30


def script(turn: int) -> list[str]:
    """The generations of a turn: none, one or two calls, then an answer; each after a thought."""
    arguments = json.dumps({"path": "a.txt", "start_line": turn % 5 + 1})
    calls = [call("read_file", arguments, THINK), call("list_files", '{"path": "."}', THINK)][: turn % 3]
    return [*calls, f"{THINK}<|start|>assistant{ANSWER}"]


async def test_what_was_read_is_read_again_once_a_turn_at_most(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {number}\n" for number in range(1, 10)))
    engine = make_engine(*(each for turn in range(TURNS) for each in script(turn)), context=60_000)
    agent = make_agent(engine, tmp_path)
    turns: list[list[StepFinished]] = []
    for turn in range(TURNS):
        events = await run_turn(agent, f"message {turn}")
        assert only(events, TurnFinished).reason == "done"
        turns.append([event for event in events if isinstance(event, StepFinished)])
    assert [len(steps) for steps in turns] == [turn % 3 + 1 for turn in range(TURNS)]
    head = turns[0][0].prompt_tokens
    for steps in turns:
        for before, now in pairwise(steps):
            # Inside a turn nothing changes: all of the prompt before, and all that was sampled, is there already.
            assert now.cached_tokens == before.prompt_tokens + before.generated_tokens
    read = sum(step.prefilled_tokens for steps in turns for step in steps)
    for before, now in pairwise(turns):
        # The thoughts of the turn before are dropped: what stands before the first of them is there already.
        assert now[0].cached_tokens >= before[0].prompt_tokens
    last = turns[-1][-1].prompt_tokens
    assert read < head + 1.6 * (last - head), "less than two thirds more than a conversation that never changes"
