"""Plans in the conversation: the newest one is a checklist, those before it are lines."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.style import Style

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.checklist import checklist_of
from gptoss_tui.tools.declarations import UPDATE_PLAN
from gptoss_tui.tui.blocks.plan import PlanBlock
from tests.tui.conftest import until
from tests.tui.screen import conversation, screen, transcript
from tests.tui.scripted_agent import Step, answer_script, make_app
from tests.tui.test_transcript import PALETTE

SIZE = (80, 24)
STEPS = ("Read the \x1b[31mcode\u202e", "Write [bold]the[/] tool", "Test it " + "thoroughly " * 12)


def plan_script(*statuses: str, item: str, explanation: str = "", status: str = "ok") -> list[Step]:
    steps = [{"step": step, "status": at} for step, at in zip(STEPS, statuses, strict=True)]
    written = json.dumps({"explanation": explanation, "plan": steps})
    output = "Plan updated" if status == "ok" else "update_plan: steps 1, 2 are in_progress."
    return [
        ev.ToolCallDelta(item_id=item, tool="update_plan", text=written),
        ev.ToolCall(item_id=item, tool="update_plan", arguments=written, summary="update_plan"),
        ev.ToolStarted(item_id=item, tool="update_plan"),
        ev.ToolFinished(item_id=item, tool="update_plan", status=status, output=output, seconds=0.0),  # type: ignore[arg-type]
    ]


FIRST = plan_script("in_progress", "pending", "pending", item="p1", explanation="Three \x1b]0;steps\x07.")
SECOND = plan_script("completed", "in_progress", "pending", item="p2")
WRONG = plan_script("in_progress", "in_progress", "pending", item="p3", status="error")


def row(text: str, fragment: str) -> int:
    return next(number for number, line in enumerate(text.split("\n")) if fragment in line)


def styles(blocks: Sequence[object], fragment: str) -> Style:
    """How the text `fragment` of the newest plan is drawn."""
    plan = [block for block in blocks if isinstance(block, PlanBlock)][-1]
    segments = [segment for strip in plan.render(76, PALETTE) for segment in strip]
    return next(segment.style for segment in segments if fragment in segment.text and segment.style)


async def test_the_newest_plan_is_open_and_earlier_ones_are_lines() -> None:
    app, _ = make_app([*FIRST, *SECOND, *answer_script("done so far")])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "done so far" in conversation(app))
        shown = conversation(app)
        assert "Plan 0/3  Read the ␛[31mcode<U+202E>" in shown
        assert "Three" not in shown, "the first plan is a line"
        new = "\n".join(shown.split("\n")[row(shown, "Plan 1/3") :])
        assert [row(new, text) for text in ("✓ Read the ␛[31mcode", "● Write [bold]the[/] tool", "○ Test it")] == [
            1,
            2,
            3,
        ]
        assert "▎   thoroughly" in new, "what is wrapped stands beside its mark"
        assert not set("\x1b\u202e\x07") & set(shown)
        blocks = transcript(app).blocks
        assert styles(blocks, "Read").strike
        assert styles(blocks, "Write").bold
        assert not styles(blocks, "Test it").bold

        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Three ␛]0;steps␇." in conversation(app))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Three" not in conversation(app))
        assert "● Write" in screen(app), "the newest one stays open"


async def test_a_plan_that_is_none_is_a_failed_call_and_the_one_before_stays_open() -> None:
    app, _ = make_app([*FIRST, *WRONG, *answer_script("hm")])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "hm" in conversation(app))
        shown = conversation(app)
        assert "● Read the" in shown
        assert "✗ error" in shown
        assert "steps 1, 2 are in_progress" in shown


async def test_who_goes_back_sees_the_plan_of_then() -> None:
    app, _ = make_app([*FIRST, *answer_script("one")], [*SECOND, *answer_script("two")])
    async with app.run_test(size=SIZE) as pilot:
        for word, said in (("go", "one"), ("on", "two")):
            await pilot.press(*word, "enter")
            await until(pilot, lambda said=said: said in conversation(app) and "Enter send" in screen(app))  # type: ignore[misc]
        assert "Three" not in conversation(app)
        await pilot.press(*"/rewind", "space", "2", "enter")
        await until(pilot, lambda: "two" not in conversation(app))
        assert "Three ␛]0;steps␇." in conversation(app)
        assert "● Read the" in conversation(app)


def test_a_copy_has_the_list() -> None:
    assert UPDATE_PLAN.name == PlanBlock.TOOL
    block = PlanBlock(PlanBlock.TOOL)
    call = FIRST[1]
    assert isinstance(call, ev.ToolCall)
    block.checklist, block.state = checklist_of(call), "ok"
    assert block.source().split("\n")[:3] == ["Plan 0/3", "Three ␛]0;steps␇.", "● Read the ␛[31mcode<U+202E>"]
