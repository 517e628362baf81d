"""Panes beside the conversation, the search in it, and cited pages."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from gptoss_tui.agent import events as ev
from gptoss_tui.tools.base import Citation
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.panes.dock import PANES, PaneDock
from gptoss_tui.tui.panes.reasoning import TurnOfThoughts
from gptoss_tui.tui.screens.page import PageScreen
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, rows, screen, status, transcript
from tests.tui.scripted_agent import Step, answer_script, make_app, reasoning_script
from tests.tui.states import PAGE, SMALL, WIDE


def dock(app: GptOssApp) -> PaneDock:
    return app.screen_stack[0].query_one(PaneDock)


def call(
    item: str, *, output: str = "done", decision: ev.DecisionKind = "once", by: str = "user", code: int | None = None
) -> list[Step]:
    finished: ev.ToolStatus = "denied" if decision == "deny" else "ok"
    return [
        ev.ToolCall(item_id=item, tool="shell", arguments='{"command": "ls"}', summary=f"shell ls {item}"),
        ev.ApprovalResolved(item_id=item, decision=decision, by=by),
        ev.ToolStarted(item_id=item, tool="shell"),
        ev.ToolFinished(item_id=item, tool="shell", status=finished, output=output, seconds=1.5, exit_code=code),
    ]


def cited(*spans: tuple[int, int | None]) -> list[Step]:
    text = "one【1†L4】"
    citations = tuple(
        Citation(1, "Expiry", "https://docs.example.com/expiry", first, last, (3, 9), 0) for first, last in spans
    )
    answer = answer_script(text)
    return [*answer[:-1], ev.AnswerCited(item_id="a1", citations=citations), answer[-1]]


async def turn(pilot: Pilot[int], said: str = "go") -> None:
    app = pilot.app
    assert isinstance(app, GptOssApp)
    done = conversation(app).count("30 tokens")
    await pilot.press(*said, "enter")
    await until(pilot, lambda: conversation(app).count("30 tokens") == done + 1)
    await until(pilot, lambda: "ready" in status(app))


async def test_every_pane_opens_and_closes_by_its_key_and_by_a_click_and_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    app, _ = make_app(state_path=path)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f2", "f4", "f5")
        assert [pane.display for pane in dock(app).panes] == [False, True, True]
        await pilot.click("#tools-title")
        await pilot.pause()
        assert [pane.display for pane in dock(app).panes] == [False, False, True]
    again, _ = make_app(state_path=path)
    async with again.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert [pane.display for pane in dock(again).panes] == [False, False, True]
        await pilot.press("f5")
        assert not dock(again).display


def test_every_pane_has_a_name_of_its_own() -> None:
    assert len({pane.NAME for pane in PANES}) == len(PANES)


async def test_thoughts_are_folded_by_turn_and_counted() -> None:
    first, second = reasoning_script("first idea"), reasoning_script("second idea")
    app, _ = make_app([*first, *answer_script("a")], [*second, *answer_script("b")])
    async with app.run_test(size=WIDE) as pilot:
        await turn(pilot, "one")
        assert "first idea" in screen(app)
        await turn(pilot, "two")
        turns = [item for item in dock(app).reasoning.view.items if isinstance(item, TurnOfThoughts)]
        assert [item.is_open for item in turns] == [False, True]
        assert [item.totals() for item in turns] == ["18 tokens · 0.3 s"] * 2
        assert "first idea" not in screen(app)
        await pilot.press("f6", "up", "enter")
        assert "first idea" in screen(app)


async def test_thoughts_are_counted_while_they_stream() -> None:
    app, agent = make_app([ev.ReasoningDelta(item_id="r", text="x" * 42), "hold"])
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "≈ 10 tokens" in dock(app).reasoning.note())
        agent.release()


async def test_a_call_says_who_allowed_it_how_long_it_took_and_how_it_ended() -> None:
    calls = [*call("c1", output="x\n[exit code 3]", code=3), *call("c2", by="rule"), *call("c3", decision="deny")]
    app, _ = make_app([*calls, *answer_script("ok")])
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f4")
        await turn(pilot)
        shown = screen(app)
        assert "allowed by you · exit 3 · 2 lines" in shown
        assert "allowed by a rule · 1 line" in shown
        assert "denied by you · denied" in shown
        assert "1.5 s" in shown
        assert dock(app).tools.note() == "3 · 1 failed"


async def test_enter_on_a_call_goes_to_it_in_the_conversation() -> None:
    app, _ = make_app([*call("c1", output="the wanted output"), *answer_script("line\n\n" * 80)])
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f2", "f4")
        await turn(pilot)
        assert "the wanted output" not in screen(app)
        await pilot.press("f6", "enter")
        await pilot.pause()
        assert "the wanted output" in screen(app)
        assert app.focused is composer(app)


async def test_on_a_narrow_screen_a_pane_stands_in_for_the_conversation_until_it_is_left() -> None:
    app, _ = make_app([*call("c1"), *answer_script("the answer")])
    async with app.run_test(size=SMALL) as pilot:
        await turn(pilot)
        await pilot.press("f4")
        assert "allowed by you" in screen(app)
        assert "the answer" not in screen(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "the answer" in screen(app)
        assert app.focused is composer(app)


async def test_letters_typed_in_a_pane_are_for_the_composer() -> None:
    app, _ = make_app([*call("c1"), *answer_script("ok")])
    async with app.run_test(size=WIDE) as pilot:
        await turn(pilot)
        await pilot.press("f4", "f6", "f6", *"next")
        await until(pilot, lambda: composer(app).text == "next")


async def test_a_cited_page_opens_at_its_lines_and_n_goes_on() -> None:
    page = (*PAGE, *(f"filler {n}" for n in range(200)), "the second place")
    app, agent = make_app(cited((4, 6), (len(page) - 1, len(page) - 1)))
    agent.page = page
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f2", "f5")
        await turn(pilot)
        await pilot.press("f6", "enter")
        await until(pilot, lambda: isinstance(app.screen, PageScreen))
        await until(pilot, lambda: "▎  4  An entry is expired" in screen(app))
        assert "the second place" not in screen(app)
        await pilot.press("n")
        await until(pilot, lambda: "the second place" in screen(app))
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, PageScreen)


async def test_a_page_that_is_forgotten_is_said_to_be() -> None:
    app, _ = make_app(cited((4, 6)))
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f2", "f5")
        await turn(pilot)
        await pilot.press("f6", "enter")
        await until(pilot, lambda: "no longer stored" in conversation(app))


async def test_search_walks_through_matches_opens_what_hides_them_and_is_gone_after_escape() -> None:
    thought, answer = "a needle in a thought", "the Needle\n\n" + "filler\n\n" * 60 + "one more needle"
    app, _ = make_app([*reasoning_script(thought), *answer_script(answer)])
    async with app.run_test(size=SMALL) as pilot:
        await turn(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: app.screen.query("#search-text"))
        await pilot.press(*"needle")
        await until(pilot, lambda: "/3" in screen(app))
        at = next(n for n in (1, 2, 3) if f"{n}/3" in screen(app))
        await pilot.press("enter")
        seen = {at}
        for _ in range(2):
            await pilot.press("n")
            await pilot.pause()
            seen.add(next(n for n in (1, 2, 3) if f"{n}/3" in screen(app)))
        assert seen == {1, 2, 3}
        while "1/3" not in screen(app):
            await pilot.press("N")
            await pilot.pause()
        assert "needle in a thought" in screen(app)
        await pilot.press("escape")
        await pilot.pause()
        assert not app.screen.query("#search-text")
        assert app.focused is composer(app)


async def test_a_search_without_matches_says_so() -> None:
    app, _ = make_app(answer_script("words"))
    async with app.run_test(size=SMALL) as pilot:
        await turn(pilot)
        await pilot.press("f3")
        await until(pilot, lambda: app.screen.query("#search-text"))
        await pilot.press(*"[absent", "enter", "n")
        await until(pilot, lambda: "nothing found" in screen(app))


async def test_opening_what_is_above_makes_no_rows_new() -> None:
    app, _ = make_app([*reasoning_script("idea\n" * 30), *answer_script("line\n\n" * 40)])
    async with app.run_test(size=SMALL) as pilot:
        await turn(pilot)
        transcript(app).scroll_home(animate=False)
        await pilot.pause()
        await pilot.press("f2")
        await pilot.pause()
        assert "new row" not in "\n".join(rows(app))
