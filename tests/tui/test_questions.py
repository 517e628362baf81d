"""What a person is asked, and what counts as an answer: the app on a scripted agent, driven by keys."""

from __future__ import annotations

import dataclasses

import pytest
from textual.events import Key, Paste

from gptoss_tui.agent import events as ev
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, panel, screen, status
from tests.tui.scripted_agent import (
    Clock,
    answer_script,
    edit_script,
    make_app,
)

EDIT_REQUEST = next(step for step in edit_script() if isinstance(step, ev.ApprovalRequest))
LONG_DIFF = "--- /dev/null\n+++ b/long.py\n@@ -0,0 +1,60 @@\n" + "".join(f"+line {n}\n" for n in range(1, 61))
SMALL = (80, 24)


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
        assert "✓" in conversation(app)


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
        await until(pilot, lambda: ("denied" if kind == "deny" else "✓") in conversation(app))


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


async def test_keys_that_come_in_one_burst_are_themselves() -> None:
    """Letters that have a meaning and letters that have none, before the app has seen the first of them."""
    clock = Clock()
    app, agent = make_app(edit_script(), clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: panel(app).grace.is_shown)
        clock.now += 5
        for character in "oknaywmexd":
            app.post_message(Key(character, character))
        await until(pilot, lambda: len(composer(app).text) == 10)
        assert composer(app).text == "oknaywmexd"
        assert agent.decisions == []
        clock.now += 5
        for character in "many y":
            app.post_message(Key("space" if character == " " else character, character))
        app.post_message(Key("enter", "\r"))
        await until(pilot, lambda: agent.decisions)
        assert (agent.decisions[0][1].kind, agent.decisions[0][1].message) == ("deny", "any y")
        assert composer(app).text == "oknaywmexd"


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
