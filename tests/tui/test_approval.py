"""The approval dialog: what it shows, what its keys do, and that nothing but a fresh key on it allows anything."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Key, MouseDown, Paste
from textual.pilot import Pilot

from gptoss_tui.agent.approvals import Answer
from gptoss_tui.agent.commands import Decision
from gptoss_tui.errors import UsageError
from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.tools.base import Effect
from gptoss_tui.tui.widgets.answers import Answers
from gptoss_tui.tui.widgets.approval_inputs import CallEditor, ReasonInput
from gptoss_tui.tui.widgets.grace import GRACE_SECONDS
from gptoss_tui.tui.widgets.notes import NotesView
from gptoss_tui.tui.widgets.preview import PreviewView
from tests.tui import requests
from tests.tui.approval_app import ApprovalApp, Clock, seen

SMALL, WIDE, NARROW = (80, 24), (140, 40), (40, 16)

pytestmark = pytest.mark.slow


def plain_edit(digest: str = "d", path: str = "a.py") -> Effect:
    diff = f"--- a/{path}\n+++ b/{path}\n@@ -1,1 +1,1 @@\n-a\n+b\n"
    return Effect("edit", f"Change {path}", diff, "diff", digest, (path,), reach="workspace")


async def soon(task: asyncio.Task[Answer]) -> Answer:
    """The answer, which is on its way."""
    return await asyncio.wait_for(task, 10)


async def asked(pilot: Pilot[None], app: ApprovalApp, effect: Effect, **more: object) -> asyncio.Task[Answer]:
    """A question that has been on screen for long enough."""
    task = app.ask("item", effect, **more)
    await seen(pilot, app)
    assert isinstance(app._clock, Clock)
    app._clock.now += GRACE_SECONDS + 0.01
    return task


@pytest.mark.parametrize(
    ("key", "kind"), [("y", "once"), ("a", "session"), ("w", "once"), ("n", "deny"), ("escape", "deny")]
)
async def test_every_key_answers(key: str, kind: str) -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, plain_edit())
        await pilot.press(key)
        answer = await soon(task)
        assert answer.decision.kind == kind, "without a workspace nothing can be kept, so always is once"
        assert app.focused is app.draft


@pytest.mark.parametrize("kind", requests.ALL)
@pytest.mark.parametrize("size", [SMALL, NARROW])
async def test_every_kind_can_be_answered_at_every_size(kind: str, size: tuple[int, int]) -> None:
    app = ApprovalApp(Clock())
    effect = requests.ALL[kind]()
    async with app.run_test(size=size) as pilot:
        task = await asked(pilot, app, effect)
        text = app.screen_text()
        assert effect.title in text
        for word in ("once", "why", "stop"):
            assert word in text, (word, text)
        lasting = ("for now" in text or "this conversation" in text, "always" in text)
        assert lasting == ((False, False) if effect.must_ask else (True, True))
        await pilot.press("y")
        assert (await soon(task)).decision.kind == "once"


async def test_what_must_be_asked_has_no_lasting_answer() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.url())
        assert "asked about each time" in app.screen_text()
        await pilot.press("a")
        app._clock.now += GRACE_SECONDS + 0.01
        await pilot.press("w")
        assert not task.done()
        assert app.draft.value == "aw"
        app._clock.now += GRACE_SECONDS + 0.01
        await pilot.press("n")
        assert (await soon(task)).decision.kind == "deny"


async def test_tab_widens_what_lasts() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.command())
        assert "the command npm test -- --watch=false" in " ".join(app.screen_text().replace("│", "").split())
        await pilot.press("tab")
        assert "commands that begin with npm test" in " ".join(app.screen_text().replace("│", "").split())
        await pilot.press("a")
        answer = await soon(task)
        assert "commands that begin with npm test" in answer.why
        assert [rule.kind for rule in app.approvals.book.rules] == ["command-prefix"] * 3


@pytest.mark.parametrize("size", [SMALL, NARROW])
async def test_the_line_for_a_message_has_room_below_a_long_diff(size: tuple[int, int]) -> None:
    added = "\n".join(f"+line {n}" for n in range(60))
    effect = replace(plain_edit(), preview=f"--- /dev/null\n+++ b/a.py\n@@ -0,0 +1,60 @@\n{added}\n")
    app = ApprovalApp(Clock())
    async with app.run_test(size=size) as pilot:
        task = await asked(pilot, app, effect)
        before = app.panel.outer_size.height
        await pilot.press("m", *"why")
        rows = app.screen_text().split("\n")
        line = next(number for number, row in enumerate(rows) if "why" in row)
        assert not rows[line - 1].strip("│ "), "a gap between the diff and the line"
        assert any("send this" in row for row in rows[line:])
        assert app.panel.outer_size.height <= before
        await pilot.press("enter")
        assert (await soon(task)).decision.message == "why"


async def test_notes_and_preview_scroll_as_one_by_keys() -> None:
    warnings = tuple(f"warning {n} that is long enough for more than one row of this small screen" for n in range(9))
    lines = "\n".join(f"+line {n}" for n in range(60))
    effect = replace(plain_edit(), preview=f"--- /dev/null\n+++ b/a.py\n@@ -0,0 +1,60 @@\n{lines}\n", warnings=warnings)
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        await asked(pilot, app, effect)
        notes, preview = app.query_one(NotesView), app.query_one(PreviewView)
        assert "warning 0" in app.screen_text()
        assert "warning 8" not in app.screen_text()
        for _ in range(notes.total_rows):
            await pilot.press("down")
            if "warning 8" in app.screen_text():
                break
        assert "warning 8" in app.screen_text()
        assert preview.scroll_offset.y == 0
        await pilot.press("end")
        assert "line 59" in app.screen_text()
        await pilot.press("home")
        assert "warning 0" in app.screen_text()
        assert "line 0" in app.screen_text()


async def test_everything_is_shown_in_rows_that_can_be_reached() -> None:
    code = "\n".join(f"print({n!r}, {chr(0x202E)!r}, '\x1b[31m')" for n in range(200))
    app = ApprovalApp(Clock())
    async with app.run_test(size=NARROW) as pilot:
        await asked(pilot, app, replace(requests.python(), preview=code))
        view = app.query_one(PreviewView)
        shown = "".join(row.text.strip() for row in view._rows)
        assert shown.replace(" ", "") == code.replace("\x1b", "␛").replace("\n", "").replace(" ", "").replace(
            "\u202e", "<U+202E>"
        )
        await pilot.press("end")
        assert view.scroll_offset.y == view.max_scroll_y > 0


PIECES = (
    *(
        "rm -rf x; ",
        "\u202eevil\u202c",
        "\u200b",
        "\u2066",
        "\x1b[31m",
        "\x9b1m",
        "\x1b]52;c;x\x07",
        "\t",
        "漢字",
        "e\u0301",
    ),
    *(
        "\U000e0041",
        "[red]",
        "[@click=app.quit]",
        "…",
        "a" * 300,
        "   ",
        "\r",
        "\u2028",
        "👩‍👩‍👧",
        "'\"$(",
        "\0",
        "\ufeff",
        "\n",
        "é",
    ),
)


def visible(text: str) -> str:
    """What has to be seen of a text, wherever it is broken into rows."""
    return re.sub(r"\s", "", to_terminal_text(text))


def unbroken(text: str) -> str:
    """Without the marks of ends of lines, of which a preview shows more than it must."""
    return re.sub("[␍⏎]", "", text)


@pytest.mark.parametrize("kind", requests.ALL)
async def test_every_byte_of_what_would_run_is_shown(kind: str) -> None:
    """Twenty crafted texts of each kind: nothing of them is cut or hidden."""
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        await asked(pilot, app, requests.ALL[kind]())
        view = app.query_one(PreviewView)
        assert view._request is not None
        assert view._palette is not None
        for seed in range(20):
            rng = random.Random(f"{kind} {seed}")
            text = "".join(rng.choices(PIECES, k=rng.randint(1, 60))) + "end"
            if kind == "edit":
                text = "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+" + text.replace("\n", " ").replace("\r", " ")
            view.show_request(replace(view._request, preview=text), view._palette)
            shown, wanted = visible("".join(row.text for row in view._rows)), visible(text.rpartition("@@\n+")[2])
            assert unbroken(wanted) in unbroken(shown), seed
            assert shown.count("␍") >= wanted.count("␍"), seed


async def test_a_file_can_be_left_out_of_a_change() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=NARROW) as pilot:
        task = await asked(pilot, app, requests.edit(), selectable=True)
        assert "file 1 of 2" in app.screen_text()
        await pilot.press("right_square_bracket")
        await pilot.press("space")
        await pilot.pause()
        text = app.screen_text()
        assert "left out" in text
        assert "always" not in text
        await pilot.press("y")
        decision = (await soon(task)).decision
        assert (decision.kind, decision.leave_out) == ("edit", ("docs/greeting.md",))


async def test_leaving_out_every_file_allows_nothing() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.edit(), selectable=True)
        view = app.query_one(PreviewView)
        view.left_out = frozenset({"src/greet.py", "docs/greeting.md"})
        await pilot.press("y")
        assert not task.done()
        await pilot.press("n")
        assert (await soon(task)).decision.kind == "deny"


async def test_the_call_can_be_changed_on_the_screen() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.python(), source="print(1)\n")
        await pilot.press("e")
        editor = app.query_one(CallEditor)
        assert app.focused is editor
        assert editor.text == "print(1)\n"
        await pilot.press(*"y#")
        assert not task.done(), "a letter in the editor is no answer"
        app.post_message(Paste("\x1b[31m"))
        await pilot.pause()
        await pilot.press("alt+enter")
        decision = (await soon(task)).decision
        assert (decision.kind, decision.text) == ("edit", "y#␛[31mprint(1)\n")


async def test_an_unchanged_text_is_no_change_and_must_be_seen_again() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.python(), source="print(1)\n")
        await pilot.press("e", "alt+enter")
        await pilot.press("y")
        assert not task.done()
        app._clock.now += GRACE_SECONDS + 0.01
        await pilot.press("y")
        assert (await soon(task)).decision.kind == "once"


async def test_text_that_the_screen_cannot_show_is_not_edited_there() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.python(), source="print('\x1b[2J')\n")
        await pilot.press("e")
        assert app.focused is app.panel
        await pilot.press("n")
        await soon(task)


async def test_a_change_that_was_refused_is_there_to_be_mended() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.python(), source="1\n")
        await pilot.press("e", *"oops ", "alt+enter")
        assert (await soon(task)).decision.text == "oops 1\n"
        task = await asked(pilot, app, requests.python(), source="1\n", revision=1, warnings=("it cannot be used",))
        assert "changed by you" in app.screen_text()
        await pilot.press("e")
        assert app.query_one(CallEditor).text == "oops 1\n"
        await pilot.press("escape", "escape")
        assert (await soon(task)).decision.kind == "deny"


async def test_the_persons_own_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\nprintf "print(2)" > "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, requests.python(), source="print(1)\n")
        await pilot.press("ctrl+g")
        assert not task.done(), "a terminal that cannot be lent leaves the question as it was"
        monkeypatch.setattr(type(app._driver), "can_suspend", property(lambda driver: True))
        app._clock.now += GRACE_SECONDS + 0.01
        await pilot.press("ctrl+g")
        decision = (await soon(task)).decision
        assert (decision.kind, decision.text) == ("edit", "print(2)")


async def test_what_is_pasted_into_the_reason_is_made_safe() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, plain_edit())
        await pilot.press("m")
        app.post_message(Paste("no\x1b]0;x\x07\nmore\u202e"))
        await pilot.pause()
        assert app.query_one(ReasonInput).value == "no␛]0;x␇⏎more<U+202E>"
        await pilot.press("enter")
        decision = (await soon(task)).decision
        assert (decision.kind, decision.message) == ("deny", "no␛]0;x␇⏎more<U+202E>")


async def test_answers_can_be_clicked_when_the_question_was_seen() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = app.ask("item", plain_edit())
        await seen(pilot, app)
        answers = app.query_one(Answers)
        row, start, _, _ = answers._spans[0]
        await pilot.click(answers, offset=(start, row))
        assert not task.done()
        app._clock.now += GRACE_SECONDS + 0.01
        await pilot.click(answers, offset=(start, row))
        assert (await soon(task)).decision.kind == "once"


async def test_layouts_of_a_diff() -> None:
    app = ApprovalApp(Clock())
    async with app.run_test(size=WIDE) as pilot:
        await asked(pilot, app, requests.edit())
        both = 'print("hi " + name)'
        assert any(both in row and "hello " in row for row in app.screen_text().split("\n"))
        await pilot.press("d")
        await pilot.pause()
        assert not any(both in row and "hello " in row for row in app.screen_text().split("\n"))


# -- races: keys and clicks that were not meant for what is shown ------------------------------------------------------


async def typed_before(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """Keys in the queue when the question comes."""
    for _ in range(rng.randint(1, 4)):
        app.post_message(Key("y", "y"))


async def typed_while_it_appears(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """Keys between the question's coming and its being seen."""
    for _ in range(rng.randint(1, 6)):
        app.post_message(Key(key := rng.choice("yaw"), key))
        await asyncio.sleep(rng.choice((0, 0.002)))
        pass_time(app, rng)


async def typed_quickly_after(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """A person who types on when the question has just been seen."""
    await seen(pilot, app)
    for _ in range(rng.randint(1, 5)):
        pass_time(app, rng)
        await pilot.press(rng.choice("yaw"))


async def pasted(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """A paste with answers and newlines in it, at any moment."""
    await asyncio.sleep(rng.choice((0, 0.005, 0.02)))
    app.post_message(Paste("y\na\nyes\r\n"))


async def clicked(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """A click that was on its way when the answers came under the pointer."""
    await seen(pilot, app)
    answers = app.query_one(Answers)
    row, start, _, _ = answers._spans[0]
    pass_time(app, rng)
    await pilot.click(answers, offset=(start, row))


async def resized(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """The window changes while somebody types."""
    await pilot.resize_terminal(rng.randint(40, 120), rng.randint(12, 40))
    pass_time(app, rng)
    app.post_message(Key("y", "y"))


async def stalled(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """The app does not get to read a key for longer than the grace lasts."""
    await seen(pilot, app)
    key = Key("y", "y")
    key.time = (app.panel.grace._since or 0.0) + rng.uniform(-1.0, GRACE_SECONDS - 0.01)
    block(GRACE_SECONDS + 0.05)
    app.post_message(key)


async def released(pilot: Pilot[None], app: ApprovalApp, rng: random.Random) -> None:
    """Only half of a click."""
    await seen(pilot, app)
    app.panel.post_message(MouseDown(app.panel, 3, 3, 0, 0, 1, False, False, False, 3, 3))


def pass_time(app: ApprovalApp, rng: random.Random) -> None:
    """Less than the grace: a key before it starts the time again."""
    if isinstance(app._clock, Clock):
        app._clock.now += rng.uniform(0, GRACE_SECONDS / 7)


def block(seconds: float) -> None:
    """Hold the event loop up."""
    time.sleep(seconds)


Race = Callable[[Pilot[None], ApprovalApp, random.Random], Awaitable[None]]
RACES: tuple[Race, ...] = (
    typed_before,
    typed_while_it_appears,
    typed_quickly_after,
    pasted,
    clicked,
    resized,
    stalled,
    released,
)
REAL_TIME: dict[Race, int] = {typed_before: 25, stalled: 5}
"""Races that are about when a key was pressed; the others run on a clock that stands still."""
RUNS = 25


@pytest.mark.parametrize("race", RACES)
async def test_no_race_approves(race: Race) -> None:
    """Each run asks anew and plays the race; nothing may come of it."""
    app = ApprovalApp(time.monotonic if race in REAL_TIME else Clock())
    runs = REAL_TIME.get(race, RUNS)
    answers = []
    async with app.run_test(size=SMALL) as pilot:
        for seed in range(runs):
            task = app.ask(f"r{seed}", plain_edit(f"d{seed}"))
            await race(pilot, app, random.Random(f"{race.__name__} {seed}"))
            await pilot.pause()
            assert not task.done(), f"{race.__name__}, seed {seed}"
            app.approvals.answer(f"r{seed}", Decision("deny", f"d{seed}"))
            answers.append((await soon(task)).decision.kind)
            await pilot.pause()
    assert answers == ["deny"] * runs


async def test_a_question_that_takes_the_place_of_another_needs_a_key_of_its_own() -> None:
    """First come, first shown; the key that answered the first cannot answer the second."""
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        for seed in range(RUNS):
            first = app.ask(f"a{seed}", plain_edit(f"a{seed}", "first.py"))
            second = app.ask(f"b{seed}", plain_edit(f"b{seed}", "second.py"))
            await seen(pilot, app)
            assert "first.py" in app.screen_text()
            app._clock.now += GRACE_SECONDS + 0.01
            await pilot.press("y", "y", "y")
            assert (await soon(first)).decision.digest == f"a{seed}"
            await seen(pilot, app)
            assert "second.py" in app.screen_text()
            assert not second.done()
            app._clock.now += GRACE_SECONDS + 0.01
            await pilot.press("y")
            assert (await soon(second)).decision.digest == f"b{seed}"


async def test_an_answer_to_what_was_shown_before_is_refused() -> None:
    """The request changed between the key and its coming to the agent."""
    app = ApprovalApp(Clock())
    async with app.run_test(size=SMALL) as pilot:
        task = await asked(pilot, app, plain_edit("old"))
        task.cancel()
        await asyncio.wait({task})
        again = app.ask("item", plain_edit("new"))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="other content"):
            app.approvals.answer("item", Decision("once", "old"))
        assert not again.done()
        app.approvals.answer("item", Decision("deny", "new"))
        await soon(again)
