"""Output that no harmony grammar allows: never a crash, never a lost conversation, never a hidden call."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from gptoss_tui.agent.events import Recovered, ToolFinished, TurnFinished
from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, call, files_in, make_agent, make_engine, only, run_turn
from tests.agent.scripted_engine import ids_of
from tests.agent.test_interrupt import assert_closed, assert_valid


async def test_text_without_a_header_is_the_answer(tmp_path: Path) -> None:
    agent = make_agent(engine := make_engine("I cannot help with that request.<|return|>"), tmp_path)
    events = await run_turn(agent)
    assert only(events, TurnFinished).answer == "I cannot help with that request."
    assert [e for e in events if isinstance(e, Recovered)]
    assert_valid(agent, engine)


async def test_two_recipients_run_nothing(tmp_path: Path) -> None:
    header = "<|channel|>commentary to=functions.list_files to=functions.apply_patch<|message|>"
    agent = make_agent(engine := make_engine(header + "{}<|call|>", ANSWER), tmp_path, mode="auto-edit")
    events = await run_turn(agent)
    assert only(events, ToolFinished).status == "error"
    assert only(events, TurnFinished).reason == "done"
    assert_valid(agent, engine)


@pytest.mark.parametrize(
    "damaged",
    [
        CALL_PATCH.replace("<|channel|>commentary<|message|>", "<|channel|>commentary"),
        CALL_PATCH.replace("commentary<|message|>", "commentary<|message|><|message|>"),
        CALL_PATCH.replace(
            " to=functions.apply_patch<|channel|>commentary", "<|channel|>commentary functions.apply_patch"
        ),
        CALL_PATCH.replace("assistant to=", "somebody to="),
        CALL_PATCH.replace("<|call|>", "<|start|>assistant<|channel|>final<|message|>Done.<|return|>"),
        CALL_PATCH.replace("to=functions.apply_patch", "to=user"),
    ],
    ids=["no end of the header", "two ends", "no to=", "another author", "no end of the call", "to an author"],
)
async def test_a_call_that_had_to_be_guessed_does_not_run_and_the_model_hears_why(tmp_path: Path, damaged: str) -> None:
    agent = make_agent(engine := make_engine(damaged, ANSWER), tmp_path, mode="auto-edit")
    events = await run_turn(agent)
    assert only(events, ToolFinished).status == "error"
    assert "malformed and did not run" in only(events, ToolFinished).output
    assert files_in(tmp_path) == []
    assert only(events, TurnFinished).reason == "done"
    assert_valid(agent, engine)


async def test_a_call_that_ends_like_a_message_stops_the_generation(tmp_path: Path) -> None:
    invented = "<|start|>functions.list_files to=assistant<|channel|>commentary<|message|>secret.txt<|end|>"
    script = call("list_files", "{}").replace("<|call|>", "<|end|>") + invented + ANSWER
    agent = make_agent(engine := make_engine(script, ANSWER), tmp_path)
    events = await run_turn(agent)
    assert only(events, ToolFinished).output == "[no files]"
    assert "secret.txt" not in load_tokenizer().decode(engine.requests[1].prompt)
    assert only(events, TurnFinished).reason == "done"
    assert_valid(agent, engine)


async def test_what_the_model_writes_as_a_tool_is_dropped(tmp_path: Path) -> None:
    invented = "<|start|>functions.read_file to=assistant<|channel|>commentary<|message|>root:x:0:0<|end|>"
    thought = "<|channel|>analysis<|message|>I read it.<|end|>"
    agent = make_agent(engine := make_engine(thought + invented, "I do not know.<|return|>"), tmp_path)
    events = await run_turn(agent)
    assert "root:x" not in load_tokenizer().decode(agent.conversation.tokens)
    assert only(events, TurnFinished).answer == "I do not know."
    assert_valid(agent, engine)


@pytest.mark.parametrize("batch", [1, 7])
async def test_tokens_behind_a_call_in_the_same_batch_do_not_count(tmp_path: Path, batch: int) -> None:
    script = call("list_files", "{}").replace("<|call|>", "<|end|>") + ANSWER
    agent = make_agent(engine := make_engine(script, ANSWER, batch=batch), tmp_path)
    await run_turn(agent)
    assert load_tokenizer().decode(agent.conversation.tokens).count("I created hello.py.") == 1
    assert_valid(agent, engine)


async def test_damaged_transcripts_never_crash_a_turn(tmp_path: Path) -> None:
    tokenizer = load_tokenizer()
    random = Random(7)
    special = list(SPECIAL_TOKENS)
    transcripts = [ids_of(tokenizer, text) for text in (CALL_PATCH, call("list_files", "{}"), ANSWER)]
    for number in range(150):
        root = tmp_path / str(number)
        root.mkdir()
        engine = make_engine()
        for script in transcripts:
            damaged = list(script)
            for _ in range(random.randint(1, 3)):
                at = random.randrange(len(damaged))
                match random.randrange(4):
                    case 0:
                        del damaged[at]
                    case 1:
                        damaged.insert(at, random.choice(special))
                    case 2:
                        damaged[at] = random.randrange(200_000)
                    case _:
                        damaged[at:] = []
                damaged = damaged or [special[0]]
            engine.scripts.append(damaged)
        engine.scripts += [list(transcripts[2]) for _ in range(6)]
        agent = make_agent(engine, root)
        events = await run_turn(agent)
        assert only(events, TurnFinished).reason in ("done", "limit"), number
        assert_closed(events)
        assert_valid(agent, engine)
        assert set(files_in(root)) <= {"hello.py"} or "Add File" in tokenizer.decode(engine.requests[-1].prompt)
