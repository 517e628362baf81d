"""What a person does, from the first key to the last: the app on a scripted agent, driven by keys."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from textual.events import AppBlur, AppFocus, Key, Paste

from gptoss_tui.agent import events as ev
from gptoss_tui.errors import CheckpointError, EngineError
from gptoss_tui.tui.controllers.frames import FrameClock
from tests.tui.conftest import until
from tests.tui.screen import colours, composer, conversation, help_text, panel, screen, status, transcript
from tests.tui.scripted_agent import (
    Clock,
    ScriptedEngine,
    answer_script,
    edit_script,
    make_app,
    reasoning_script,
    step_finished,
)

EDIT_REQUEST = next(step for step in edit_script() if isinstance(step, ev.ApprovalRequest))
SMALL, WIDE = (80, 24), (160, 50)
LONG_DIFF = "--- /dev/null\n+++ b/long.py\n@@ -0,0 +1,60 @@\n" + "".join(f"+line {n}\n" for n in range(1, 61))


async def test_welcome_is_shown_before_the_model_is_loaded() -> None:
    app, _ = make_app(engine=ScriptedEngine(hold=True))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "reading weights" in screen(app))
        assert "create hello.py that prints hello" in conversation(app)
        assert "50%" in screen(app)
        assert "loading" in status(app)


async def test_answer_streams_as_markdown_and_ends_frozen() -> None:
    app, agent = make_app(answer_script("All **done** in `hello.py`."))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert agent.prompts == ["hi"]
        assert "▌ hi" in conversation(app)
        assert "All done in hello.py." in conversation(app)
        assert not any(block.live for block in transcript(app).blocks)
        assert "60 tok/s" in status(app)
        assert "1.2k/32.8k" in status(app)


async def test_prompts_typed_while_loading_are_shown_as_queued_and_then_run() -> None:
    engine = ScriptedEngine(hold=True)
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one", "enter", *"two", "enter")
        await until(pilot, lambda: "queued   two" in screen(app))
        assert "queued   one" in screen(app)
        assert agent.prompts == []
        engine.loaded.set()
        await until(pilot, lambda: agent.prompts == ["one", "two"])
        await until(pilot, lambda: "queued" not in screen(app))


async def test_prompt_from_the_command_line_is_the_first_message() -> None:
    app, agent = make_app(prompt="hello there")
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: agent.prompts == ["hello there"])


async def test_loading_that_fails_says_why_and_a_message_tries_again() -> None:
    engine = ScriptedEngine(failure=CheckpointError("The file config.json is missing", hint="download it again"))
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "config.json is missing" in conversation(app))
        assert "download it again" in conversation(app)
        assert "no model" in status(app)
        engine.failure = None
        await pilot.press(*"again", "enter")
        await until(pilot, lambda: agent.prompts == ["again"])
        assert engine.loads == 2


async def test_queued_prompts_come_back_to_the_draft_when_loading_fails() -> None:
    engine = ScriptedEngine(hold=True, failure=CheckpointError("broken"))
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"keep", "enter")
        engine.loaded.set()
        await until(pilot, lambda: composer(app).text == "keep")
        assert agent.prompts == []


async def test_approve_once() -> None:
    clock = Clock()
    app, agent = make_app([*edit_script(), *answer_script("Changed.")], clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        assert "/home/ada/project/hello.py" in screen(app)
        assert 'print("hello")' in screen(app)
        assert "waits for you" in status(app)
        clock.now += 0.31
        await pilot.press("y")
        await until(pilot, lambda: "Changed." in conversation(app))
        assert [(item, d.kind, d.digest) for item, d in agent.decisions] == [("c1", "once", "d1")]
        assert not panel(app).display
        assert app.focused is composer(app)
        assert "✓ ok" in conversation(app)


@pytest.mark.parametrize(("key", "kind"), [("a", "session"), ("n", "deny")])
async def test_other_answers(key: str, kind: str) -> None:
    clock = Clock()
    app, agent = make_app(edit_script(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 0.31
        await pilot.press(key)
        await until(pilot, lambda: agent.decisions)
        assert agent.decisions[0][1].kind == kind
        await until(pilot, lambda: ("denied" if kind == "deny" else "✓ ok") in conversation(app))


@pytest.mark.parametrize(
    ("preview_type", "preview"), [("command", "make test\nrm -r build"), ("code", "print(1)"), ("url", "https://x.org")]
)
async def test_other_requests_show_all_of_what_would_run(preview_type: str, preview: str) -> None:
    request = dataclasses.replace(EDIT_REQUEST, kind="command", preview=preview, preview_type=preview_type)
    clock = Clock()
    app, agent = make_app([request, "decision"], clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        assert all(line in screen(app) for line in preview.split("\n"))
        clock.now += 0.31
        await pilot.click("#approval-keys", offset=(2, 1))  # below what the lasting answers allow
        await until(pilot, lambda: agent.decisions)
        assert agent.decisions[0][1].kind == "once"


async def test_a_click_before_300_ms_does_not_count() -> None:
    app, agent = make_app(edit_script())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        await pilot.click("#approval-keys", offset=(2, 1))
        assert agent.decisions == []
        assert composer(app).text == ""


async def test_deny_with_a_message() -> None:
    clock = Clock()
    app, agent = make_app(edit_script(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 0.31
        await pilot.press("m", *"many y", "enter")
        await until(pilot, lambda: agent.decisions)
        assert agent.decisions[0][1].kind == "deny"
        assert agent.decisions[0][1].message == "many y"
        assert composer(app).text == ""


async def test_escape_in_the_message_goes_back_to_the_question() -> None:
    clock = Clock()
    app, agent = make_app(edit_script(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 0.31
        await pilot.press("m", "x")
        assert "deny and send this" in screen(app)
        assert "allow once" not in screen(app)
        await pilot.press("escape")
        assert "allow once" in screen(app)
        assert agent.decisions == []
        await pilot.press("y")
        await until(pilot, lambda: agent.decisions)
        assert agent.decisions[0][1].kind == "once"


async def test_a_key_before_300_ms_does_not_count_and_goes_into_the_draft() -> None:
    clock = Clock()
    app, agent = make_app(edit_script(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 0.29
        await pilot.press("y")
        assert agent.decisions == []
        assert composer(app).text == "y"
        clock.now += 0.29
        await pilot.press("y")
        assert agent.decisions == [], "a key that did not count starts the time again"
        assert composer(app).text == "yy"
        clock.now += 0.31
        await pilot.press("y")
        await until(pilot, lambda: agent.decisions)
        assert composer(app).text == "yy"


async def test_typing_ahead_never_answers() -> None:
    clock = Clock()
    app, agent = make_app(edit_script(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 5
        await pilot.press(*"ok yes any")
        assert agent.decisions == []
        assert composer(app).text == "ok yes any"


async def test_a_paste_over_a_question_goes_into_the_draft() -> None:
    app, agent = make_app(edit_script())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        app.post_message(Paste("yes, and y"))
        await until(pilot, lambda: composer(app).text == "yes, and y")
        assert agent.decisions == []


async def test_draft_stays_while_an_approval_is_asked() -> None:
    clock = Clock()
    app, agent = make_app(["hold", *edit_script()], clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press(*"half a thou")
        agent.release()
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 1
        await pilot.press("y")
        await until(pilot, lambda: agent.decisions)
        assert composer(app).text == "half a thou"


async def test_the_diff_scrolls_while_deciding() -> None:
    clock = Clock()
    app, agent = make_app(edit_script(diff=LONG_DIFF), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        assert "line 60" not in screen(app)
        assert "allow once" in screen(app)
        await pilot.press("end")
        assert "line 60" in screen(app)
        await pilot.press("home")
        assert "long.py" in screen(app)
        assert agent.decisions == []


async def test_keys_and_preview_stay_in_view_under_many_warnings() -> None:
    warnings = tuple(
        f"warning {n} that is long enough to take more than one row of this small screen" for n in range(9)
    )
    app, _ = make_app(edit_script(diff=LONG_DIFF, warnings=warnings))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        assert "allow once" in screen(app)
        assert "long.py" in screen(app)
        assert "61 rows" in screen(app)
        await pilot.press("end")
        assert "line 60" in screen(app)


async def test_a_question_under_the_help_is_not_seen_yet() -> None:
    clock = Clock()
    app, agent = make_app(["hold", *edit_script()], clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press("f1")
        agent.release()
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 5
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await pilot.press("y")
        assert agent.decisions == []
        clock.now += 0.31
        await pilot.press("y")
        await until(pilot, lambda: agent.decisions)


async def test_escape_denies_and_interrupts() -> None:
    clock = Clock()
    app, agent = make_app(edit_script(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        await pilot.press("escape")
        await until(pilot, lambda: agent.interrupts == 1)
        assert agent.decisions[0][1].kind == "deny"
        await until(pilot, lambda: "interrupted" in conversation(app))
        assert not panel(app).display


async def test_escape_interrupts_and_queued_prompts_return_to_the_draft() -> None:
    app, agent = make_app([ev.AnswerDelta(item_id="a", text="half an ans"), "hold"])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "half an ans" in conversation(app))
        await pilot.press(*"next", "tab")
        await until(pilot, lambda: "queued   next" in screen(app))
        await pilot.press("escape")
        await until(pilot, lambda: "interrupted" in conversation(app))
        assert "half an ans" in conversation(app)
        assert composer(app).text == "next"
        assert agent.prompts == ["go"]
        assert "ready" in status(app)


async def test_up_in_an_empty_composer_takes_the_queued_prompt_back() -> None:
    app, agent = make_app(["hold"])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press(*"next", "tab")
        await until(pilot, lambda: "queued   next" in screen(app))
        await pilot.press("up")
        await until(pilot, lambda: composer(app).text == "next")
        assert "queued" not in screen(app)


async def test_failed_turn_shows_its_hint() -> None:
    end = ev.TurnFinished(reason="failed", error="The prompt is too long", hint="Start a new conversation")
    app, _ = make_app([end])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "The prompt is too long" in conversation(app))
        assert "Start a new conversation" in conversation(app)
        assert "ready" in status(app)


async def test_engine_that_died_is_loaded_again_with_the_next_message() -> None:
    engine = ScriptedEngine()
    app, agent = make_app([ev.TurnFinished(reason="failed", error="The engine is gone")], engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        engine.failure = CheckpointError("gone")
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "no model" in status(app))
        engine.failure = None
        await pilot.press(*"on", "enter")
        await until(pilot, lambda: agent.prompts == ["go", "on"])
        assert engine.loads == 2


async def test_a_prompt_that_began_no_turn_comes_back_to_the_draft() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        agent.refusal = EngineError("No model is loaded")
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "No model is loaded" in conversation(app))
        assert composer(app).text == "go"
        agent.refusal = None
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts == ["go"])


async def test_effort_keys_and_their_ends() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("alt+comma", "alt+comma")
        assert "effort ▮▯▯ low" in screen(app)
        await pilot.press("alt+full_stop", "alt+full_stop", "alt+full_stop")
        assert "effort ▮▮▮ high" in screen(app)
        await pilot.press("ctrl+t")
        assert "effort ▮▯▯ low" in screen(app)
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.efforts == ["low"])
        assert composer(app).text == ""


async def test_new_conversation_clears_the_view() -> None:
    app, agent = make_app(answer_script("first answer"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        await until(pilot, lambda: "Enter send" in screen(app))
        await pilot.press("ctrl+n")
        assert agent.conversations == 1
        assert "first answer" not in conversation(app)
        assert "create hello.py" in conversation(app)
        assert "0/32.8k" in status(app)


async def test_new_conversation_waits_for_the_running_turn() -> None:
    app, agent = make_app(["hold"])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press("ctrl+n")
        assert agent.conversations == 0
        assert "Stop the model first" in conversation(app)


async def test_reasoning_is_a_side_pane_when_wide_and_inline_when_narrow() -> None:
    thought = "first I look at the file"
    app, agent = make_app([*reasoning_script(thought)[:2], "hold", *answer_script("ok")])
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "look at the file" in screen(app))
        assert "look at the file" not in conversation(app)
        assert "Thinking" in conversation(app)
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: "look at the file" in conversation(app))
        await pilot.resize_terminal(*WIDE)
        await until(pilot, lambda: "look at the file" not in conversation(app))
        agent.release()
        await until(pilot, lambda: "30 tokens" in conversation(app))


async def test_finished_reasoning_folds_and_f2_opens_it() -> None:
    app, _ = make_app([*reasoning_script("look at the file"), *answer_script("ok")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert "▸ Thought  18 tokens · 0.3 s" in conversation(app)
        assert "look at the file" not in conversation(app)
        await pilot.press("f2")
        assert "look at the file" in conversation(app)
        await pilot.press("f2")
        assert "look at the file" not in conversation(app)


async def test_a_click_opens_a_thought() -> None:
    app, _ = make_app([*reasoning_script("look at the file"), *answer_script("ok")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        row = next(y for y, text in enumerate(conversation(app).split("\n")) if "Thought" in text)
        await pilot.click("#conversation", offset=(5, row))
        assert "look at the file" in conversation(app)


async def test_f2_hides_the_side_pane() -> None:
    app, _ = make_app([*reasoning_script("look at the file"), *answer_script("ok")])
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "look at the file" in screen(app))
        await pilot.press("f2")
        await pilot.pause()
        assert "look at the file" not in screen(app)


async def test_tool_card_shows_the_head_of_its_output_and_ctrl_o_opens_it() -> None:
    output = "\n".join(f"row {n}" for n in range(40))
    call = [
        ev.ToolCall(item_id="c", tool="read_file", arguments='{"path": "a.py"}', summary="read_file a.py"),
        ev.ToolStarted(item_id="c", tool="read_file"),
        ev.ToolFinished(item_id="c", tool="read_file", status="ok", output=output, seconds=0.2),
    ]
    app, _ = make_app([*call, *answer_script("ok")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert "read_file  a.py" in conversation(app)
        assert "row 3" in conversation(app)
        assert "row 4" not in conversation(app)
        assert "36 more lines" in conversation(app)
        await pilot.press("ctrl+o")
        assert "row 39" in conversation(app)
        assert '{"path": "a.py"}' in conversation(app)


async def test_running_output_and_errors_are_shown() -> None:
    call = [
        ev.ToolCallDelta(item_id="c", tool="search_files", text='{"pattern":'),
        ev.ToolCall(item_id="c", tool="search_files", arguments="{}", summary="search_files x"),
        ev.ToolStarted(item_id="c", tool="search_files"),
        ev.ToolOutputDelta(item_id="c", text="so far"),
        "hold",
        ev.ToolFinished(item_id="c", tool="search_files", status="error", output="bad pattern", seconds=1.0),
    ]
    app, agent = make_app(call)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "so far" in conversation(app))
        assert "running" in conversation(app)
        agent.release()
        await until(pilot, lambda: "✗ error · 1.0 s" in conversation(app))
        assert "bad pattern" in conversation(app)


async def test_view_follows_the_tail_until_the_person_scrolls_up() -> None:
    long = "\n\n".join(f"paragraph {n}" for n in range(60))
    app, agent = make_app([*answer_script(long), "hold", *answer_script("the end", item="a2")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "paragraph 59" in screen(app))
        await pilot.press("pageup", "pageup")
        assert not transcript(app).following
        await until(pilot, lambda: "Ctrl+End newest" in screen(app))
        before = transcript(app).scroll_offset.y
        agent.release()
        await until(pilot, lambda: "the end" in conversation(app))
        assert transcript(app).scroll_offset.y == before
        assert "the end" not in screen(app)
        await pilot.press("ctrl+end")
        assert "the end" in screen(app)
        assert transcript(app).following


async def test_history_walks_at_the_edges_and_survives_the_app(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history.jsonl"
    app, agent = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"first", "enter")
        await until(pilot, lambda: agent.prompts == ["first"])
        await pilot.press(*"a", "ctrl+j", *"b", "enter")
        await until(pilot, lambda: agent.prompts == ["first", "a\nb"])
    assert path.stat().st_mode & 0o777 == 0o600
    app, _ = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"draft", "up")
        assert composer(app).text == "a\nb"
        await pilot.press("up")
        assert composer(app).text == "a\nb", "inside the text Up moves the cursor"
        await pilot.press("up")
        assert composer(app).text == "first"
        await pilot.press("down")
        assert composer(app).text == "a\nb"
        await pilot.press("down", "down")
        assert composer(app).text == "draft"


async def test_a_large_paste_becomes_a_chip_and_is_sent_in_full() -> None:
    pasted = "\r".join(f"line {n}" for n in range(30_000))
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        app.post_message(Paste(pasted))
        await until(pilot, lambda: "30,000 lines" in composer(app).text)
        assert len(composer(app).text) < 80
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts)
        assert agent.prompts[0] == pasted.replace("\r", "\n")


async def test_question_mark_helps_only_when_nothing_is_typed() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("question_mark")
        assert "Think less" in help_text(app)
        await pilot.press("escape")
        await pilot.press("a", "question_mark")
        assert composer(app).text == "a?"
        await pilot.press("f1")
        assert "Think less" in help_text(app)


async def test_keys_that_come_in_one_burst_keep_their_order() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        for character in "is it so?":
            app.post_message(Key(_key_of(character), character))
        app.post_message(Key("enter", "\r"))
        await until(pilot, lambda: agent.prompts)
        assert agent.prompts == ["is it so?"]


async def test_keys_before_the_composer_has_the_focus_are_not_lost() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        app.screen.set_focus(None)
        app.post_message(Key("h", "h"))
        app.post_message(Key("i", "i"))
        await until(pilot, lambda: composer(app).text == "hi")
        assert app.focused is composer(app)


def _key_of(character: str) -> str:
    return {" ": "space", "?": "question_mark"}.get(character, character)


async def test_ctrl_c_interrupts_first_and_quits_when_pressed_again() -> None:
    clock = Clock()
    app, agent = make_app(["hold"], clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: agent.interrupts == 1)
        assert app.is_running
        assert "again to quit" in screen(app)
        clock.now += 3
        await pilot.press("ctrl+c")
        assert app._exit is False
        clock.now += 1
        await pilot.press("ctrl+c")
        assert app._exit is True


async def test_quitting_ends_the_engine() -> None:
    engine = ScriptedEngine()
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press("ctrl+q")
    assert engine.closed
    assert agent.closed


async def test_quitting_before_anything_is_loaded() -> None:
    engine = ScriptedEngine(hold=True)
    app, _ = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("ctrl+q")
    assert app.return_code == 0


async def test_a_click_on_an_example_fills_the_composer() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.click("#conversation", offset=(8, 5))
        assert composer(app).text == "create hello.py that prints hello"


async def test_hints_can_be_clicked() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go")
        await pilot.click("#hints", offset=(2, 0))
        await until(pilot, lambda: agent.prompts == ["go"])


async def test_a_bug_in_a_turn_does_not_take_the_app_down() -> None:
    app, agent = make_app()
    agent.submit = lambda text: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "ZeroDivisionError" in conversation(app))
        assert "ready" in status(app)


async def test_theme_changes_redraw_the_conversation() -> None:
    app, _ = make_app(answer_script("hello"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        before = [segment.style for segment in transcript(app).render_line(0)]
        app.theme = "gptoss-light"
        await until(pilot, lambda: [s.style for s in transcript(app).render_line(0)] != before)
        assert "hello" in conversation(app)


async def test_nothing_ticks_when_nothing_runs_and_no_node_is_added_by_talking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames: list[int] = []
    beat = FrameClock.frame
    monkeypatch.setattr(FrameClock, "frame", lambda clock: (frames.append(1), beat(clock))[1])
    app, agent = make_app(*[answer_script(f"answer {n}", item=f"a{n}") for n in range(5)])
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        nodes = len(app.screen.query("*"))
        for n in range(5):
            await pilot.press("x", "enter")
            await until(pilot, lambda n=n: len(agent.prompts) == n + 1 and "ready" in status(app))
        assert len(app.screen.query("*")) == nodes
        seen = len(frames)
        await pilot.pause(0.2)
        assert len(frames) == seen


async def test_focus_restyles_a_handful_of_nodes() -> None:
    app, _ = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        styled: list[object] = []
        original = app.stylesheet.update_nodes
        app.stylesheet.update_nodes = lambda nodes, animate=False: (  # type: ignore[method-assign]
            styled.extend(nodes := list(nodes)),
            original(nodes, animate=animate),
        )[1]
        app.post_message(AppBlur())
        app.post_message(AppFocus())
        await until(pilot, lambda: styled)
        assert transcript(app) not in styled
        assert len({id(node) for node in styled}) <= 10


@pytest.mark.parametrize("wanted", ["1", "", None])
async def test_no_color_leaves_only_greys(monkeypatch: pytest.MonkeyPatch, wanted: str | None) -> None:
    if wanted is not None:
        monkeypatch.setenv("NO_COLOR", wanted)
    app, _ = make_app(answer_script("**bold** `code`"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert colours(app)
        assert all(red == green == blue for red, green, blue in colours(app)) == bool(wanted)


async def test_raw_tokens_are_shown_step_by_step() -> None:
    steps = [ev.RawTokens(text="<|channel|>final"), ev.RawTokens(text="<|message|>hi<|return|>"), step_finished()]
    app, _ = make_app([*steps, ev.RawTokens(text="<|channel|>analysis")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "analysis" in conversation(app))
        assert "<|channel|>final<|message|>hi<|return|>\n\n  <|channel|>analysis" in conversation(app)


async def test_recovered_output_and_notices_are_told() -> None:
    app, _ = make_app(
        [ev.Recovered(item_id="x", what="a header was malformed"), ev.Notice(text="disk full", hint="free some")]
    )
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "disk full" in conversation(app))
        assert "a header was malformed" in conversation(app)
        assert "free some" in conversation(app)
