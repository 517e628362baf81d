"""What the browser adds to the conversation: pages that the model read, and the references of its answer."""

from __future__ import annotations

import pytest

from gptoss_tui.agent import events as ev
from gptoss_tui.tools.base import Citation
from gptoss_tui.tui.blocks.answer import AnswerBlock
from tests.tui.conftest import until
from tests.tui.screen import conversation, screen, status, transcript
from tests.tui.scripted_agent import Step, answer_script, make_app, step_finished

SIZE = (80, 30)
PAGE = "[1] Keys (local://docs/keys.md)\n**viewing lines [0 - 8] of 8**\n\n" + "".join(
    f"L{n}: key number {n}\n" for n in range(9)
)
ANSWER = "Press **F1**【1†L4】(twice) or F2【1†L6-L7】, not F3【9†L1】: `【1†L4】`.\n\n[1]: https://elsewhere.org"


def opened(status: ev.ToolStatus = "ok", output: str = PAGE) -> list[Step]:
    """A call that opens a page."""
    return [
        ev.ToolCall(item_id="c1", tool="browser.open", arguments='{"id": 0}', summary="browser.open link 0"),
        ev.ToolStarted(item_id="c1", tool="browser.open"),
        ev.ToolFinished(item_id="c1", tool="browser.open", status=status, output=output, seconds=0.1),
    ]


def cited(answer: str = ANSWER, title: str = "Keys") -> ev.AnswerCited:
    """The citations in an answer as the agent sends them."""
    pages = {
        "【1†L4】": (1, title, "local://docs/keys.md", 4, 4),
        "【1†L6-L7】": (1, title, "local://docs/keys.md", 6, 7),
    }
    marks = {**pages, "【9†L1】": (0, "", "", 1, 1)}
    found = sorted((answer.index(mark), mark) for mark in marks if mark in answer)
    return ev.AnswerCited(
        item_id="a1", citations=tuple(Citation(*marks[mark], (at, at + len(mark))) for at, mark in found)
    )


async def test_an_answer_ends_with_numbered_references_and_what_they_point_at() -> None:
    *answer, finished = answer_script(ANSWER)
    app, _ = make_app([*opened(), *answer, cited(), finished])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"keys?", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        shown = conversation(app)
        assert "Press F1[1](twice) or F2[1], not F3【9†L1】[?]: 【1†L4】." in shown
        assert "  [1] Keys (local://docs/keys.md) L4, L6-L7\n" in shown
        assert "  [?] points at nothing that the model was shown\n" in shown
        assert "elsewhere" not in shown, "an answer cannot say where its references lead"
        (block,) = (block for block in transcript(app).blocks if isinstance(block, AnswerBlock))
        assert block.source().endswith(
            "\n\n[1] Keys (local://docs/keys.md) L4, L6-L7\n[?] points at nothing that the model was shown"
        )


async def test_a_mark_is_never_shown_in_part() -> None:
    deltas: list[Step] = []
    for piece in ("It is F1 【", "1†L", "4】. ", "Or F2【1"):
        deltas += [ev.AnswerDelta(item_id="a1", text=piece), "hold"]
    app, agent = make_app([*deltas, ev.TurnFinished(reason="failed", error="out of memory")])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"key?", "enter")
        await until(pilot, lambda: "It is F1" in screen(app))
        assert "【" not in screen(app)
        agent.release()
        await pilot.pause()
        assert "【" not in conversation(app)
        agent.release()
        await until(pilot, lambda: "It is F1 【1†L4】." in screen(app))
        agent.release()
        await until(pilot, lambda: "Or F2" in screen(app))
        assert "Or F2【" not in screen(app)
        agent.release()
        await until(pilot, lambda: "out of memory" in conversation(app))
        assert "Or F2【1" in conversation(app), "what was cut is shown as it is"


async def test_titles_of_pages_are_text() -> None:
    *answer, finished = answer_script("F1【1†L4】")
    app, _ = make_app([*answer, cited("F1【1†L4】", "[red]K[/red] **x** \x1b[2J\u202e"), finished])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"key?", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert "  F1[1]\n\n  [1] [red]K[/red] **x** ␛[2J<U+202E> (local://docs/keys.md) L4\n" in conversation(app)


async def test_references_that_are_too_long_go_on_below_the_title() -> None:
    *answer, finished = answer_script("F1【1†L4】")
    app, _ = make_app([*answer, cited("F1【1†L4】", "word " * 30), finished])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"key?", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert "  [1] word word" in conversation(app)
        assert "\n      word word" in conversation(app)
        assert all(len(row) <= SIZE[0] for row in conversation(app).split("\n"))


async def test_citations_of_an_unknown_answer_are_left_out() -> None:
    stray = ev.AnswerCited(item_id="other", citations=cited().citations)
    app, _ = make_app([stray, *answer_script("Fine."), stray])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: "ready" in status(app) and "Fine." in conversation(app))
        assert "[1]" not in conversation(app)


async def test_a_page_is_a_short_line_until_it_is_opened() -> None:
    app, _ = make_app([*opened(), *answer_script("Read.")])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"read", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert "✓ 12 lines" in conversation(app)
        assert "local://docs/keys.md" not in conversation(app)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "L8: key number 8" in conversation(app))
        assert "12 lines" not in conversation(app)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "✓ 12 lines" in conversation(app))


async def test_pages_are_open_when_they_are_asked_for_and_can_be_closed() -> None:
    app, _ = make_app([*opened(), *answer_script("Read.")], show_pages=True)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"read", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        assert "L8: key number 8" in conversation(app)
        (card,) = (block for block in transcript(app).blocks if getattr(block, "is_page", False))
        transcript(app).post_message(transcript(app).BlockClicked(transcript(app), card, 0))
        await until(pilot, lambda: "✓ 12 lines" in conversation(app))
        card.toggle()
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "✓ 12 lines" in conversation(app))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "L8: key number 8" in conversation(app))


@pytest.mark.parametrize("show_pages", [False, True])
async def test_an_error_of_the_browser_is_shown(show_pages: bool) -> None:
    app, _ = make_app([*opened("error", "There is no link 0."), step_finished()], show_pages=show_pages)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"read", "enter")
        await until(pilot, lambda: "There is no link 0." in conversation(app))
        assert "12 lines" not in conversation(app)
