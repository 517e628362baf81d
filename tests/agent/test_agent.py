"""Whole turns: real parser, real conversation, real tools on disk; only the model's words are scripted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import (
    AnswerDelta,
    AnswerDone,
    ApprovalRequest,
    ApprovalResolved,
    EffortChanged,
    ReasoningDelta,
    ReasoningDone,
    StepFinished,
    ToolCall,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    event_type,
)
from gptoss_tui.agent.policy import Mode
from gptoss_tui.agent.session import SessionStore, load_session
from gptoss_tui.errors import EngineDiedError, EngineError, UsageError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.tools.formats import format_denied
from tests.agent.helpers import (
    ANSWER,
    CALL_PATCH,
    call,
    files_in,
    make_agent,
    make_engine,
    only,
    run_turn,
    types,
)


def prompt_of(engine: object, step: int) -> str:
    return load_tokenizer().decode(engine.requests[step].prompt)  # type: ignore[attr-defined]


async def test_create_a_file_with_approval(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, ANSWER)
    agent = make_agent(engine, tmp_path)
    events = await run_turn(agent)
    assert types(events) == [
        "turn_started",
        "reasoning_done",
        "step_finished",
        "tool_call",
        "approval_request",
        "approval_resolved",
        "tool_started",
        "tool_finished",
        "answer_done",
        "step_finished",
        "turn_finished",
    ]
    assert {event.turn_id for event in events} == {"t1"}
    assert isinstance(events[0], TurnStarted)
    assert isinstance(events[-1], TurnFinished)
    assert (events[-1].reason, events[-1].answer) == ("done", "I created hello.py.")
    assert (tmp_path / "hello.py").read_text() == "print('hello')\n"
    request = only(events, ApprovalRequest)
    assert request.kind == "edit"
    assert "+print('hello')" in request.preview
    assert only(events, ToolStarted).preview == request.preview
    assert only(events, ToolFinished).output == "Done!\nA hello.py"
    assert only(events, ToolCall).item_id == request.item_id == only(events, ToolFinished).item_id


ORDER = re.compile(
    r"turn_started "
    r"((prompt_progress )*"
    r"((reasoning_delta )*reasoning_done |(answer_delta )*answer_done |(tool_call_delta )+)*"
    r"step_finished "
    r"(tool_call ((approval_request )?approval_resolved )?(tool_started (tool_output_delta )*)?tool_finished )?)*"
    r"turn_finished "
)
"""The order of events that docs/events.md promises."""


@pytest.mark.parametrize("mode", ["ask", "full-auto", "read-only"])
async def test_events_come_in_the_documented_order(tmp_path: Path, mode: Mode) -> None:
    preamble = "<|channel|>commentary<|message|>I look first.<|end|>"
    script = (call("list_files", "{}", before=preamble), call("no_such", "{}"), CALL_PATCH, ANSWER)
    events = await run_turn(make_agent(make_engine(*script), tmp_path, mode=mode))
    assert ORDER.fullmatch("".join(f"{event_type(e)} " for e in events))


async def test_deltas_add_up_to_the_closing_event(tmp_path: Path) -> None:
    events = await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER, batch=3), tmp_path))
    reasoning = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    answer = "".join(e.text for e in events if isinstance(e, AnswerDelta))
    assert reasoning == only(events, ReasoningDone).text == "I add the file."
    assert answer == only(events, AnswerDone).text == "I created hello.py."


async def test_only_new_tokens_are_prefilled_within_a_turn(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, ANSWER)
    await run_turn(make_agent(engine, tmp_path))
    first, second = engine.requests
    sampled = len(second.prompt) - len(first.prompt)
    assert second.prompt[: len(first.prompt)] == first.prompt
    assert second.cached > len(first.prompt) + sampled // 2
    assert prompt_of(engine, 1).startswith(prompt_of(engine, 0) + CALL_PATCH)


async def test_the_reply_goes_back_on_the_channel_of_the_call(tmp_path: Path) -> None:
    on_analysis = '<|channel|>analysis to=functions.list_files code<|message|>{"path":"."}<|call|>'
    engine = make_engine(on_analysis, ANSWER)
    await run_turn(make_agent(engine, tmp_path))
    assert prompt_of(engine, 1).endswith(
        "<|start|>functions.list_files to=assistant<|channel|>analysis<|message|>[no files]<|end|><|start|>assistant"
    )


async def test_reasoning_of_a_finished_turn_is_gone_in_the_next(tmp_path: Path) -> None:
    engine = make_engine(
        CALL_PATCH, "<|channel|>analysis<|message|>Done now.<|end|><|start|>assistant" + ANSWER, ANSWER
    )
    agent = make_agent(engine, tmp_path)
    await run_turn(agent)
    assert "I add the file." in prompt_of(engine, 1)
    events = await run_turn(agent, "thanks")
    assert events[0].turn_id == "t2"
    assert "I add the file." not in prompt_of(engine, 2)
    assert "print('hello')" in prompt_of(engine, 2)
    assert "I created hello.py." in prompt_of(engine, 2)


async def test_a_denial_reaches_the_model_and_nothing_is_written(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, "<|channel|>final<|message|>Then I leave it.<|return|>")
    events = await run_turn(
        make_agent(engine, tmp_path), answer=lambda r: Decision("deny", r.digest, "use another name")
    )
    assert files_in(tmp_path) == []
    assert format_denied("use another name") in prompt_of(engine, 1)
    finished = only(events, ToolFinished)
    assert (finished.status, finished.output) == ("denied", format_denied("use another name"))
    assert only(events, ApprovalResolved).by == "user"
    assert events[-1] == TurnFinished(turn_id="t1", reason="done", answer="Then I leave it.")


async def test_read_then_edit(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    patch = "*** Begin Patch\n*** Update File: a.txt\n@@\n one\n-two\n+three\n*** End Patch"
    engine = make_engine(call("read_file", '{"path":"a.txt"}'), call("apply_patch", patch), ANSWER)
    events = await run_turn(make_agent(engine, tmp_path))
    assert (tmp_path / "a.txt").read_text() == "one\nthree\n"
    assert [e.tool for e in events if isinstance(e, ToolFinished)] == ["read_file", "apply_patch"]
    assert only(events, ApprovalRequest).tool == "apply_patch"
    assert "one\ntwo" in prompt_of(engine, 1)


async def test_a_grant_for_the_session_is_not_asked_again_until_a_new_conversation(tmp_path: Path) -> None:
    second = call("apply_patch", "*** Begin Patch\n*** Add File: b.txt\n+b\n*** End Patch")
    third = call("apply_patch", "*** Begin Patch\n*** Add File: c.txt\n+c\n*** End Patch")
    engine = make_engine(CALL_PATCH, second, ANSWER, third, ANSWER)
    agent = make_agent(engine, tmp_path)
    events = await run_turn(agent, answer=lambda r: Decision("session", r.digest))
    assert [e.by for e in events if isinstance(e, ApprovalResolved)] == ["user", "session"]
    assert len([e for e in events if isinstance(e, ApprovalRequest)]) == 1
    agent.new_conversation()
    events = await run_turn(agent)
    assert only(events, ApprovalResolved).by == "user"
    assert files_in(tmp_path) == ["b.txt", "c.txt", "hello.py"]


async def test_policies(tmp_path: Path) -> None:
    modes: tuple[tuple[Mode, str], ...] = (("auto-edit", "ok"), ("full-auto", "ok"), ("read-only", "denied"))
    for mode, status in modes:
        root = tmp_path / mode
        root.mkdir()
        events = await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), root, mode=mode))
        assert not [e for e in events if isinstance(e, ApprovalRequest)]
        assert only(events, ApprovalResolved).by == "policy"
        assert only(events, ToolFinished).status == status
        assert (root / "hello.py").exists() == (status == "ok")


async def test_a_wrong_digest_or_id_allows_nothing(tmp_path: Path) -> None:
    agent = make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path)
    refused = 0
    async for event in agent.submit("go"):
        if isinstance(event, ApprovalRequest):
            for item_id, digest in ((event.item_id, "0" * 64), ("t9.9", event.digest)):
                with pytest.raises(UsageError):
                    agent.decide(item_id, Decision("once", digest))
                refused += 1
            assert not (tmp_path / "hello.py").exists()
            agent.decide(event.item_id, Decision("once", event.digest))
            with pytest.raises(UsageError):
                agent.decide(event.item_id, Decision("once", event.digest))
    assert refused == 2
    assert (tmp_path / "hello.py").exists()


@pytest.mark.parametrize("recipient", ["functions.launch_rocket", "container.exec", "browser.search", "nobody"])
async def test_an_unknown_tool_is_an_error_for_the_model(tmp_path: Path, recipient: str) -> None:
    engine = make_engine(f"<|channel|>commentary to={recipient} json<|message|>{{}}<|call|>", ANSWER)
    events = await run_turn(make_agent(engine, tmp_path))
    finished = only(events, ToolFinished)
    assert finished.status == "error"
    assert "read_file" in finished.output
    assert finished.output in prompt_of(engine, 1)
    assert events[-1].reason == "done"  # type: ignore[attr-defined]


@pytest.mark.parametrize("arguments", ["", "{", "[1]", '{"path": 5}', '{"file": "a"}', "*** not json"])
async def test_bad_arguments_are_an_error_for_the_model(tmp_path: Path, arguments: str) -> None:
    events = await run_turn(make_agent(make_engine(call("read_file", arguments), ANSWER), tmp_path))
    assert only(events, ToolFinished).status == "error"
    assert only(events, ToolCall).arguments == arguments
    assert events[-1].reason == "done"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["list_files", "functions.list_files", "functions.functions.list_files"])
async def test_recipients_that_mean_a_tool_find_it(tmp_path: Path, name: str) -> None:
    engine = make_engine(f"<|channel|>commentary to={name}<|message|>{{}}<|call|>", ANSWER)
    finished = only(await run_turn(make_agent(engine, tmp_path)), ToolFinished)
    assert finished.tool in ("list_files", name)


async def test_effort_counts_from_the_next_step_on(tmp_path: Path) -> None:
    engine = make_engine(ANSWER, CALL_PATCH, ANSWER, ANSWER)
    agent = make_agent(engine, tmp_path, effort="low")
    await run_turn(agent)
    events = []
    async for event in agent.submit("again"):
        events.append(event)
        if isinstance(event, ApprovalRequest):
            agent.effort = "high"
            agent.decide(event.item_id, Decision("once", event.digest))
    assert "Reasoning: low" in prompt_of(engine, 1)
    assert "Reasoning: high" in prompt_of(engine, 2)
    changed = only(events, EffortChanged)
    assert changed.effort == "high"
    assert changed.tokens > engine.requests[2].cached
    assert events[events.index(changed) - 1] == only(events, ToolFinished)
    agent.effort = "medium"
    assert only(await run_turn(agent), EffortChanged).effort == "medium"
    assert "Reasoning: medium" in prompt_of(engine, 3)
    assert "again" in prompt_of(engine, 3)


async def test_one_turn_at_a_time(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER, ANSWER), tmp_path)
    stream = agent.submit("one")
    await anext(stream)
    with pytest.raises(UsageError, match="A turn is running"):
        await anext(agent.submit("two"))
    with pytest.raises(UsageError, match="A turn is running"):
        agent.new_conversation()
    rest = [event async for event in stream]
    assert rest[-1].reason == "done"  # type: ignore[attr-defined]
    assert (await run_turn(agent, "two"))[-1].reason == "done"  # type: ignore[attr-defined]


async def test_closing_during_a_turn_keeps_its_last_events(tmp_path: Path) -> None:
    agent = make_agent(make_engine(CALL_PATCH), tmp_path, session_store=SessionStore(tmp_path / "s"))
    path = None
    async for event in agent.submit("go"):
        path = path or agent.session_path
        if isinstance(event, ApprovalRequest):
            agent.close()
    assert path is not None
    assert load_session(path).events[-1]["reason"] == "interrupted"
    assert agent.session_path is None


async def test_a_message_that_no_context_holds_is_refused_and_the_conversation_goes_on(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER, context=8192), tmp_path)
    with pytest.raises(UsageError, match="longer than the context of 8,192 tokens; it was not sent"):
        await run_turn(agent, "many words " * 10_000)
    assert agent.turns() == ()
    assert types(await run_turn(agent, " " * 9000 + "hi"))[-1] == "turn_finished"
    assert len(agent.turns()) == 1


async def test_an_empty_message_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        await run_turn(make_agent(make_engine(), tmp_path), " \n")


async def test_without_a_model_nothing_starts(tmp_path: Path) -> None:
    class Unloaded(type(make_engine())):  # type: ignore[misc]
        async def info(self) -> None:
            return None

    agent = make_agent(Unloaded([]), tmp_path)
    with pytest.raises(EngineError, match="No model is loaded"):
        await run_turn(agent)
    assert agent.conversation.entries == ()


async def test_an_engine_that_dies_fails_the_turn_and_the_next_works(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, ANSWER, die_after=8)
    agent = make_agent(engine, tmp_path)
    events = await run_turn(agent, "create it")
    assert types(events) == ["turn_started", "reasoning_done", "step_finished", "turn_finished"]
    assert isinstance(events[-1], TurnFinished)
    assert (events[-1].reason, events[-1].hint) == ("failed", "restart it")
    with pytest.raises(EngineDiedError):
        await anext(engine.generate([1], engine.requests[0].params))
    engine.die_after = None
    _ = [progress async for progress in engine.load()]
    events = await run_turn(agent, "try again")
    assert events[-1].reason == "done"  # type: ignore[attr-defined]
    assert "create it" in prompt_of(engine, 1)


async def test_step_finished_reports_what_the_engine_counted(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, ANSWER, context=2048)
    agent = make_agent(engine, tmp_path)
    steps = [e for e in await run_turn(agent) if isinstance(e, StepFinished)]
    assert [s.step for s in steps] == [1, 2]
    assert [s.cached_tokens for s in steps] == [r.cached for r in engine.requests]
    assert all(s.prompt_tokens == s.cached_tokens + s.prefilled_tokens for s in steps)
    assert steps[0].context_used == steps[0].prompt_tokens + steps[0].generated_tokens
    assert {s.context_limit for s in steps} == {2048}
    assert steps[1].context_used >= len(agent.conversation.tokens)
