"""Permission: the pure decision over all its inputs, and questions bound to what they showed."""

from __future__ import annotations

import asyncio

import pytest

from gptoss_tui.agent.approvals import POLICIES, Approvals, Policy, decide
from gptoss_tui.agent.commands import Decision
from gptoss_tui.errors import UsageError
from gptoss_tui.tools.base import Effect


def effect(kind: str = "edit", digest: str = "d1") -> Effect:
    return Effect(kind, "Add a.txt", "+a", "diff", digest, ("a.txt",))


@pytest.mark.parametrize("policy", POLICIES)
def test_reading_is_always_allowed(policy: Policy) -> None:
    assert decide(None, policy, frozenset()) == "allow"


@pytest.mark.parametrize(
    ("policy", "kind", "grants", "verdict"),
    [
        ("ask", "edit", (), "ask"),
        ("ask", "edit", ("edit",), "allow"),
        ("ask", "command", ("edit",), "ask"),
        ("edits", "edit", (), "allow"),
        ("edits", "command", (), "ask"),
        ("edits", "command", ("command",), "allow"),
        ("all", "command", (), "allow"),
        ("all", "never heard of", (), "allow"),
        ("none", "edit", (), "deny"),
        ("none", "edit", ("edit",), "deny"),
    ],
)
def test_verdict(policy: Policy, kind: str, grants: tuple[str, ...], verdict: str) -> None:
    assert decide(effect(kind), policy, frozenset(grants)) == verdict


async def test_a_session_grant_covers_its_kind_only_and_can_be_forgotten() -> None:
    approvals = Approvals()
    asked: list[str] = []

    async def ask(item_id: str, kind: str, answer: str) -> str:
        def announce() -> None:
            asked.append(item_id)
            loop.call_soon(approvals.answer, item_id, Decision(answer, "d1"))  # type: ignore[arg-type]

        loop = asyncio.get_running_loop()
        return (await approvals.resolve(item_id, effect(kind), announce))[1]

    assert await ask("a", "edit", "session") == "user"
    assert await ask("b", "edit", "deny") == "session"
    assert await ask("c", "command", "once") == "user"
    assert await ask("d", "command", "once") == "user"
    approvals.forget()
    assert await ask("e", "edit", "once") == "user"
    assert asked == ["a", "c", "d", "e"]


async def test_an_answer_counts_only_for_the_request_that_was_shown() -> None:
    approvals = Approvals()
    task = asyncio.create_task(approvals.resolve("a", effect(digest="d1"), lambda: None))
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="other content"):
        approvals.answer("a", Decision("once", "d2"))
    with pytest.raises(UsageError, match="'b'"):
        approvals.answer("b", Decision("once", "d1"))
    assert not task.done()
    approvals.answer("a", Decision("once", "d1"))
    with pytest.raises(UsageError, match="'a'"):
        approvals.answer("a", Decision("once", "d1"))
    assert (await task)[0].kind == "once"
    with pytest.raises(UsageError, match="'a'"):
        approvals.answer("a", Decision("once", "d1"))


async def test_parallel_questions_are_put_one_at_a_time_and_a_grant_answers_the_next() -> None:
    approvals = Approvals()
    announced: list[str] = []
    tasks = [
        asyncio.create_task(approvals.resolve(name, effect(), lambda name=name: announced.append(name)))  # type: ignore[misc]
        for name in ("a", "b", "c")
    ]
    await asyncio.sleep(0)
    assert announced == ["a"]
    with pytest.raises(UsageError):
        approvals.answer("b", Decision("once", "d1"))
    approvals.answer("a", Decision("once", "d1"))
    await tasks[0]
    await asyncio.sleep(0)
    approvals.answer("b", Decision("session", "d1"))
    results = await asyncio.gather(*tasks)
    assert announced == ["a", "b"]
    assert [by for _, by in results] == ["user", "user", "session"]


async def test_a_cancelled_question_is_closed() -> None:
    approvals = Approvals()
    task = asyncio.create_task(approvals.resolve("a", effect(), lambda: None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    with pytest.raises(UsageError):
        approvals.answer("a", Decision("once", "d1"))
