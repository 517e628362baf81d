"""What a person does to a conversation: steer it, think harder, go back, fork, look where its tokens went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import (
    AnswerDelta,
    AnswerDone,
    ApprovalRequest,
    EffortChanged,
    Event,
    PromptProgress,
    Rewound,
    Steered,
    StepFinished,
    TurnFinished,
    TurnStarted,
)
from gptoss_tui.agent.session import SessionStore, load_session
from gptoss_tui.agent.sessions import shown_records
from gptoss_tui.errors import SessionError, UsageError
from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.render import render_message
from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, THINK, call, make_agent, make_engine, only, run_turn, types
from tests.agent.scripted_engine import ScriptedEngine, ids_of

LIST = call("list_files", '{"path":"."}', THINK)


def prompt_of(engine: ScriptedEngine, request: int) -> str:
    return load_tokenizer().decode(engine.requests[request].prompt)


def last(events: Sequence[Event]) -> TurnFinished:
    assert isinstance(events[-1], TurnFinished)
    return events[-1]


def saved(tmp_path: Path, engine: ScriptedEngine, **options: object) -> Agent:
    """An agent that saves its sessions."""
    return make_agent(engine, tmp_path, session_store=SessionStore(tmp_path / "s"), **options)


async def steered_turn(agent: Agent, at: type[Event], *texts: str) -> list[Event]:
    """A turn into which `texts` are said when the first event of class `at` comes."""
    events = []
    for_later = list(texts)
    async for event in agent.submit("go"):
        events.append(event)
        if isinstance(event, ApprovalRequest):
            agent.decide(event.item_id, Decision("once", event.digest))
        if isinstance(event, at):
            while for_later:
                agent.steer(for_later.pop(0))
    return events


# -- steering -------------------------------------------------------------------------------------------------------


async def test_steering_enters_before_the_next_step_and_nothing_is_read_again(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, ANSWER)
    agent = make_agent(engine, tmp_path)
    events = await steered_turn(agent, ApprovalRequest, "use tabs", "and be brief")
    assert [e.text for e in events if isinstance(e, Steered)] == ["use tabs", "and be brief"]
    assert types(events)[-6:] == [
        "tool_finished",
        "steered",
        "steered",
        "answer_done",
        "step_finished",
        "turn_finished",
    ]
    said = "<|end|><|start|>user<|message|>use tabs<|end|><|start|>user<|message|>and be brief<|end|><|start|>assistant"
    assert prompt_of(engine, 1).endswith(said)
    assert "I add the file." in prompt_of(engine, 1), "the turn goes on, so its reasoning stays"
    assert engine.requests[1].cached == len(engine.requests[0].prompt) + len(ids_of(load_tokenizer(), CALL_PATCH))
    assert last(events).unsent == ()
    assert len(agent.turns()) == 1


async def test_steering_while_the_answer_streams_asks_for_another_one(tmp_path: Path) -> None:
    second = "<|channel|>final<|message|>Shorter.<|return|>"
    engine = make_engine(ANSWER, second)
    events = await steered_turn(make_agent(engine, tmp_path), AnswerDelta, "shorter")
    assert [e.text for e in events if isinstance(e, AnswerDone)] == ["I created hello.py.", "Shorter."]
    assert last(events).answer == "Shorter."
    assert prompt_of(engine, 1).endswith(
        "I created hello.py.<|end|><|start|>user<|message|>shorter<|end|><|start|>assistant"
    )


async def test_steering_that_comes_too_late_is_given_back(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, hang_after=3)
    agent = make_agent(engine, tmp_path)
    engine.on_hang = lambda: (agent.steer("wait"), agent.interrupt())
    events = await run_turn(agent)
    assert (last(events).reason, last(events).unsent) == ("interrupted", ("wait",))
    assert "wait" not in load_tokenizer().decode(agent.conversation.tokens)


async def test_only_a_running_turn_can_be_steered(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER), tmp_path)
    with pytest.raises(UsageError, match="No turn is running"):
        agent.steer("now")
    async for event in agent.submit("go"):
        if isinstance(event, PromptProgress):
            with pytest.raises(UsageError, match="empty"):
                agent.steer(" ")
        if isinstance(event, TurnFinished):
            with pytest.raises(UsageError, match="No turn is running"):
                agent.steer("late")


async def test_a_steered_turn_is_resumed_token_for_token(tmp_path: Path) -> None:
    agent = saved(tmp_path, make_engine(CALL_PATCH, ANSWER))
    await steered_turn(agent, ApprovalRequest, "use tabs")
    tokens = agent.conversation.tokens
    agent.close()
    again = saved(tmp_path, make_engine())
    again.resume("last")
    assert again.conversation.tokens == tokens


# -- effort ---------------------------------------------------------------------------------------------------------


async def test_an_effort_that_was_used_before_costs_no_system_prefix(tmp_path: Path) -> None:
    engine = make_engine(ANSWER, ANSWER, ANSWER)
    agent = make_agent(engine, tmp_path, effort="low")
    assert agent.effort_cost("high") == 0, "nothing was read yet"
    await run_turn(agent)
    head = agent.conversation.preamble_length
    first = agent.effort_cost("high")
    assert first == len(engine._cache) - 1, "all that was read"
    agent.effort = "high"
    assert only(await run_turn(agent, "two"), EffortChanged).tokens == first
    assert agent.effort_cost("high") == 0
    held = len(engine._cache) - 1
    assert agent.effort_cost("low") == held - head
    agent.effort = "low"
    events = await run_turn(agent, "three")
    assert only(events, EffortChanged) == EffortChanged(turn_id="t3", effort="low", tokens=held - head)
    assert [request.cached for request in engine.requests][-1] == head
    assert only(events, StepFinished).prefilled_tokens == len(engine.requests[-1].prompt) - head


async def test_no_change_of_effort_is_told_when_nothing_was_said_yet(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER), tmp_path, effort="low")
    agent.effort = "high"
    assert "effort_changed" not in types(await run_turn(agent))


async def test_reading_ahead_makes_every_effort_free(tmp_path: Path) -> None:
    engine = make_engine("x", "x", "x", ANSWER)
    agent = make_agent(engine, tmp_path, effort="high")
    await agent.warm()
    assert ["Reasoning: " + e in prompt_of(engine, i) for i, e in enumerate(("high", "low", "medium"))] == [True] * 3
    assert [request.params.keep_prefix for request in engine.requests] == [len(r.prompt) for r in engine.requests]
    await agent.warm()
    assert len(engine.requests) == 3, "what is kept is not read again"
    agent.effort = "low"
    await run_turn(agent)
    assert engine.requests[3].cached == agent.conversation.preamble_length
    await agent.warm()
    assert len(engine.requests) == 4, "a conversation that has begun stays where it is"


async def test_a_message_goes_before_reading_ahead(tmp_path: Path) -> None:
    engine = make_engine("x", ANSWER)
    agent = make_agent(engine, tmp_path)
    agent._runner.busy = True
    await agent.warm()
    assert engine.requests == []


# -- going back -----------------------------------------------------------------------------------------------------


async def three_turns(tmp_path: Path) -> tuple[ScriptedEngine, Agent]:
    engine = make_engine(LIST, ANSWER, CALL_PATCH, ANSWER, ANSWER, ANSWER, ANSWER)
    agent = saved(tmp_path, engine)
    for text in ("one", "two", "three"):
        await run_turn(agent, text)
    return engine, agent


async def test_turns_are_listed_with_what_they_changed(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    found = agent.turns()
    assert [(t.number, t.turn_id, t.text, t.files) for t in found] == [
        (1, "t1", "one", ()),
        (2, "t2", "two", ("hello.py",)),
        (3, "t3", "three", ()),
    ]
    assert all(turn.started[:2] == "20" for turn in found)


async def test_rewinding_is_as_if_the_turns_had_never_been_and_keeps_the_prefix(tmp_path: Path) -> None:
    engine, agent = await three_turns(tmp_path)
    before_two = engine.requests[2].prompt
    assert agent.rewind(2) == "two"
    assert [t.number for t in agent.turns()] == [1]
    await run_turn(agent, "two")
    assert engine.requests[-1].prompt == before_two
    assert engine.requests[-1].cached == len(before_two), "what stands before was in the cache still"
    assert [t.number for t in agent.turns()] == [1, 4], "numbers never come twice"
    with pytest.raises(UsageError, match="no turn 2"):
        agent.rewind(2)


async def test_a_rewind_takes_a_change_of_effort_back_too(tmp_path: Path) -> None:
    engine, agent = await three_turns(tmp_path)
    agent.effort = "high"
    assert only(await run_turn(agent, "four"), EffortChanged).effort == "high"
    agent.rewind(4)
    agent.effort = "medium"
    assert "effort_changed" not in types(await run_turn(agent, "four"))
    assert "Reasoning: medium" in prompt_of(engine, -1)
    tokens = agent.conversation.tokens
    agent.rewind(1)
    agent.close()
    again = saved(tmp_path, make_engine(ANSWER, *[ANSWER] * 4))
    again.resume(only_file(tmp_path / "s").stem)
    assert again.turns() == ()
    await run_turn(again, "one")
    assert again.conversation.tokens[:20] == tokens[:20]
    again.close()
    last_one = saved(tmp_path, make_engine())
    last_one.resume("last")
    assert last_one.conversation.tokens == again.conversation.tokens


async def test_rewinding_everything_leaves_an_empty_conversation_in_the_same_session(tmp_path: Path) -> None:
    engine, agent = await three_turns(tmp_path)
    path = agent.session_path
    assert agent.rewind(1) == "one"
    assert (agent.conversation.entries, agent.turns()) == ((), ())
    assert only(await run_turn(agent, "one"), TurnStarted).turn_id == "t4"
    assert agent.session_path == path
    assert engine.requests[-1].prompt == engine.requests[0].prompt


async def test_a_session_with_rewinds_is_resumed_without_what_was_taken_back(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    agent.rewind(3)
    agent.rewind(2)
    await run_turn(agent, "four")
    tokens, path = agent.conversation.tokens, agent.session_path
    agent.close()
    assert path is not None
    again = saved(tmp_path, make_engine(ANSWER))
    session = again.resume(path.stem)
    assert again.conversation.tokens == tokens
    assert [e.text for e in session.events if isinstance(e, TurnStarted)] == ["one", "four"]
    assert [t.text for t in again.turns()] == ["one", "four"]
    assert not [e for e in session.events if isinstance(e, Rewound)]
    assert only(await run_turn(again, "five"), TurnStarted).turn_id == "t5"


async def test_every_cut_of_a_rewound_session_gives_a_conversation_that_can_go_on(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    agent.rewind(2)
    await run_turn(agent, "four")
    agent.close()
    path = only_file(tmp_path / "s")
    data = path.read_bytes()
    for end in range(data.index(b"\n") + 1, len(data) + 1, 97):
        path.write_bytes(data[:end])
        again = saved(tmp_path, make_engine(ANSWER))
        again.resume(path.stem)
        assert last(await run_turn(again, "go on")).reason == "done"
        again.close()


# -- forking --------------------------------------------------------------------------------------------------------


async def test_a_fork_goes_on_elsewhere_and_leaves_the_old_file_alone(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    old = agent.session_path
    assert old is not None
    before = old.read_bytes()
    assert agent.fork(3) == "three"
    assert agent.session_path not in (None, old)
    await run_turn(agent, "other")
    assert old.read_bytes() == before
    assert agent.session_path is not None
    state = load_session(agent.session_path)
    assert state.header.parent == old.stem
    assert [e["text"] for e in state.events if e["type"] == "turn_started"] == ["one", "two", "other"]
    tokens = agent.conversation.tokens
    agent.close()
    again = saved(tmp_path, make_engine())
    again.resume(state.header.id)
    assert again.conversation.tokens == tokens


async def test_a_fork_of_everything_has_everything(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    tokens, old = agent.conversation.tokens, agent.session_id
    assert agent.fork() == ""
    assert agent.conversation.tokens == tokens
    assert agent.session_id != old
    assert len(agent.sessions()) == 2
    with pytest.raises(UsageError, match="no turn 9"):
        agent.fork(9)


async def test_a_conversation_that_is_not_saved_is_forked_as_a_rewind(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER, ANSWER), tmp_path)
    await run_turn(agent, "one")
    await run_turn(agent, "two")
    assert agent.fork(2) == "two"
    assert [t.text for t in agent.turns()] == ["one"]


# -- sessions -------------------------------------------------------------------------------------------------------


async def test_sessions_are_listed_for_a_workspace_and_resumed_by_a_part_of_their_id(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    store = SessionStore(tmp_path / "s")
    here = make_agent(make_engine(ANSWER, ANSWER), tmp_path, session_store=store)
    there = make_agent(make_engine(ANSWER), other, session_store=store)
    assert here.sessions() == ()
    await run_turn(there, "elsewhere")
    await run_turn(here, "\n  make   it\nblue")
    await run_turn(here, "and green")
    assert [(s.title, s.turns, s.workspace) for s in here.sessions(tmp_path)] == [("make it", 2, str(tmp_path))]
    assert {s.title for s in here.sessions()} == {"make it", "elsewhere"}
    session_id = there.session_id
    assert session_id is not None
    with pytest.raises(SessionError, match="open in another window"):
        here.resume(session_id)
    assert [t.text for t in here.turns()] == ["\n  make   it\nblue", "and green"], "what was there stays"
    there.close()
    assert "it goes on in" in only_text(here.resume(session_id).notices)
    assert [t.text for t in here.turns()] == ["elsewhere"]
    with pytest.raises(UsageError, match="conversations begin with"):
        here.resume("20")
    for unknown in ("nope", ""):
        with pytest.raises(UsageError, match="There is no conversation"):
            here.resume(unknown)


async def test_resuming_the_session_that_is_open_reads_it_again(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    tokens, session_id = agent.conversation.tokens, agent.session_id
    agent.resume("last")
    assert (agent.conversation.tokens, agent.session_id) == (tokens, session_id)
    assert last(await run_turn(agent, "four")).reason == "done"


async def test_a_session_of_version_one_is_resumed(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    tokens = agent.conversation.tokens
    agent.close()
    path = only_file(tmp_path / "s")
    lines = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["type"] == "session":
            record["v"] = 1
            del record["parent"]
        if record.get("op") == "files":
            continue
        if record.get("op") == "user":
            del record["turn"], record["time"]
        lines.append(json.dumps(record, separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n")
    again = saved(tmp_path, make_engine(ANSWER))
    again.resume("last")
    assert again.conversation.tokens == tokens
    assert again.rewind(2) == "two"
    assert only(await run_turn(again, "x"), TurnStarted).turn_id == "t4"


async def test_nothing_of_this_while_a_turn_runs(tmp_path: Path) -> None:
    agent = saved(tmp_path, make_engine(ANSWER))
    async for event in agent.submit("go"):
        if isinstance(event, TurnStarted):
            for act in (agent.fork, lambda: agent.rewind(1), lambda: agent.resume("last"), agent.new_conversation):
                with pytest.raises(UsageError, match="A turn is running"):
                    act()
    assert [t.text for t in agent.turns()] == ["go"]


# -- context --------------------------------------------------------------------------------------------------------


async def test_the_parts_of_the_context_add_up(tmp_path: Path) -> None:
    engine = make_engine(LIST, ANSWER, CALL_PATCH, ANSWER)
    agent = make_agent(engine, tmp_path)
    empty = agent.context()
    assert (empty.user, empty.answers, empty.cached, empty.limit) == (0, 0, 0, None)
    assert empty.used == empty.system + empty.developer > 300
    await run_turn(agent, "one")
    await run_turn(agent, "two")
    report = agent.context()
    parts = (report.system, report.developer, report.user, report.reasoning, report.calls, report.tool_results)
    assert sum(parts) + report.answers == report.used == len(agent.conversation.tokens)
    assert min(parts) > 0
    tokenizer = load_tokenizer()
    assert report.user == sum(len(render_message(tokenizer, Message("user", text))) for text in ("one", "two"))
    assert report.used - 1 <= report.cached <= report.used
    assert report.limit == engine.context


async def test_what_streams_now_counts(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER), tmp_path)
    seen = [agent.context().used async for _ in agent.submit("go")]
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] == agent.context().used


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def only_text(texts: Sequence[str]) -> str:
    (text,) = texts
    return text


async def test_shown_records_have_no_rewound_turn(tmp_path: Path) -> None:
    _, agent = await three_turns(tmp_path)
    agent.rewind(1)
    records = shown_records(load_session(only_file(tmp_path / "s")))
    assert [r["type"] for r in records if r["type"] != "history"] == ["rewound"]
