"""What a person sees of a turn: answers, thoughts, tools and notices. The app on a scripted agent."""

from __future__ import annotations

import re

import pytest

from gptoss_tui.agent import events as ev
from tests.tui.conftest import until
from tests.tui.screen import colours, conversation, screen, status, transcript
from tests.tui.scripted_agent import (
    answer_script,
    make_app,
    reasoning_script,
    step_finished,
)

SMALL, WIDE = (80, 24), (160, 50)


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


LONG_THOUGHT = f"look at the file,\n\n and at {'more, ' * 40} the end"


async def test_finished_reasoning_folds_to_how_it_began_and_f2_opens_it() -> None:
    app, _ = make_app([*reasoning_script(LONG_THOUGHT), *answer_script("ok")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        (row,) = (row for row in conversation(app).split("\n") if "▸ Thought" in row)
        assert re.fullmatch(r" ▸ Thought  look at the file, and at (?:more, ){3,}.*… 18 tokens · 0\.3 s *", row), row
        assert "the end" not in conversation(app)
        await pilot.press("f2")
        assert "the end" in conversation(app)
        await pilot.press("f2")
        assert "the end" not in conversation(app)


async def test_a_click_opens_a_thought() -> None:
    app, _ = make_app([*reasoning_script(LONG_THOUGHT), *answer_script("ok")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        row = next(y for y, text in enumerate(conversation(app).split("\n")) if "Thought" in text)
        await pilot.click("#conversation", offset=(5, row))
        assert "the end" in conversation(app)


async def test_f2_hides_the_side_pane() -> None:
    app, _ = make_app([*reasoning_script("look at the file"), *answer_script("ok")])
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "look at the file" in screen(app))
        await pilot.press("f2")
        await pilot.pause()
        assert "look at the file" not in screen(app)


async def test_a_card_of_what_the_model_read_says_how_much_and_ctrl_o_opens_it() -> None:
    output = "[a.py: lines 1-40 of 40]\n" + "\n".join(f"row {n}" for n in range(40))
    call = [
        ev.ToolCall(item_id="c", tool="read_file", arguments='{"path": "a.py"}', summary="read_file a.py"),
        ev.ToolStarted(item_id="c", tool="read_file"),
        ev.ToolFinished(item_id="c", tool="read_file", status="ok", output=output, seconds=0.2),
    ]
    app, _ = make_app([*call, *answer_script("ok")])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert re.search("read_file  a.py +✓ 40 lines · 0.2 s", conversation(app))
        assert "row" not in conversation(app)
        await pilot.press("ctrl+o")
        assert "row 39" in conversation(app)
        assert "path" not in conversation(app), "the head says it"


async def test_running_output_and_errors_are_shown() -> None:
    call = [
        ev.ToolCallDelta(item_id="c", tool="shell", text='{"command":'),
        ev.ToolCall(item_id="c", tool="shell", arguments="{}", summary="shell x"),
        ev.ToolStarted(item_id="c", tool="shell"),
        ev.ToolOutputDelta(item_id="c", text="so far"),
        "hold",
        ev.ToolFinished(item_id="c", tool="shell", status="error", output="bad pattern", seconds=1.0),
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


async def test_theme_changes_redraw_the_conversation() -> None:
    app, _ = make_app(answer_script("hello"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        before = [segment.style for segment in transcript(app).render_line(0)]
        app.theme = "gptoss-light"
        await until(pilot, lambda: [s.style for s in transcript(app).render_line(0)] != before)
        assert "hello" in conversation(app)


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
        [
            ev.Recovered(item_id="x", what="a header was malformed"),
            ev.Recovered(item_id="x", what="<|end|> was missing"),
            ev.Notice(text="disk full", hint="free some"),
        ]
    )
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "disk full" in conversation(app))
        assert "  ! A header was malformed\n  ! <|end|> was missing\n  ! disk full\n" in conversation(app)
        assert "Free some" in conversation(app)
