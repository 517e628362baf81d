"""`update_plan`: what a model may send, what it is told when it sends something else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.typescript import to_typescript
from gptoss_tui.tools.declarations import UPDATE_PLAN
from gptoss_tui.tools.update_plan import MAX_CHARS, MAX_STEPS, Checklist, Step, UpdatePlanTool, read_checklist


def plan(*statuses: Any, **more: Any) -> str:
    steps = [{"step": f"step {number}", "status": status} for number, status in enumerate(statuses, 1)]
    return json.dumps({"plan": steps, **more})


async def test_a_plan_is_taken_without_any_effect() -> None:
    call = await UpdatePlanTool().prepare(plan("completed", "in_progress", "pending", explanation="two  are\nleft"))
    assert call.checklist == Checklist(
        (Step("step 1", "completed"), Step("step 2", "in_progress"), Step("step 3", "pending")), "two are left"
    )
    assert call.effect is None
    assert call.summary == "update_plan 1/3 step 2"
    result = await call.run(lambda text: None)
    assert (result.ok, result.text) == (True, "Plan updated")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "plan is missing"),
        ("{", "not valid JSON"),
        ("just words", "plan is missing"),
        ('{"plan": "1. read"}', "not a list"),
        ('{"plan": []}', "no steps"),
        ('{"plan": ["read"]}', "step 1 of the plan is not an object"),
        ('{"plan": [{"status": "pending"}]}', "step 1 of the plan has no text"),
        ('{"plan": [{"step": " \\n", "status": "pending"}]}', "step 1 of the plan has no text"),
        ('{"plan": [{"step": "a"}]}', "step 1 of the plan has no status"),
        (plan("pending", "done"), "step 2 of the plan has the status 'done'"),
        (plan(["pending"]), "step 1 of the plan has no status"),
        (plan("in_progress", "pending", "in_progress"), "steps 1, 3 are in_progress. At most one"),
        (plan(*["pending"] * (MAX_STEPS + 1)), f"has {MAX_STEPS + 1} steps, of at most {MAX_STEPS}"),
        (plan("pending", steps=3), "unknown argument steps"),
        (plan("pending", explanation=["a"]), "explanation is not a string"),
    ],
)
async def test_what_is_wrong_with_a_plan_is_said(arguments: str, told: str) -> None:
    with pytest.raises(ToolError, match=r"^update_plan: ") as raised:
        await UpdatePlanTool().prepare(arguments)
    assert told in raised.value.message


def test_the_form_that_is_shown_is_a_plan() -> None:
    with pytest.raises(ToolError) as raised:
        read_checklist("")
    form = raised.value.message.partition("like ")[2].removesuffix(".")
    assert read_checklist(form) == Checklist((Step("…", "pending"),), "…")


def test_long_texts_are_cut_and_many_steps_fit() -> None:
    long = json.dumps({"explanation": "y" * 501, "plan": [{"step": "x" * 9000, "status": "pending"}] * MAX_STEPS})
    checklist = read_checklist(long)
    assert len(checklist.steps) == MAX_STEPS
    assert {len(step.text) for step in checklist.steps} == {MAX_CHARS} == {len(checklist.explanation)}
    assert checklist.steps[0].text.endswith("x…")


def test_what_changed_is_known() -> None:
    before, after = read_checklist(plan("in_progress", "pending")), read_checklist(plan("completed", "pending"))
    assert before.since(None) == before.steps
    assert after.since(before) == after.steps[:1]
    assert after.since(after) == ()


def test_the_model_is_told_the_form() -> None:
    assert UPDATE_PLAN.parameters is not None
    told = to_typescript(UPDATE_PLAN.parameters)
    assert "explanation?: string," in told
    assert 'status: "pending" | "in_progress" | "completed",' in told
