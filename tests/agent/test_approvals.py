"""Questions and answers: bound to what they showed, put one at a time, and no wider than what was said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gptoss_tui.agent.approvals import Answer, Approvals, Question
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import DecisionKind
from gptoss_tui.agent.policy.book import RuleBook
from gptoss_tui.errors import UsageError
from gptoss_tui.tools.base import Effect


def edit(digest: str = "d1", path: str = "a.txt") -> Effect:
    return Effect("edit", f"Add {path}", "+a", "diff", digest, (path,))


def command(*words: str, digest: str = "d1") -> Effect:
    return Effect("command", "Run", " ".join(words), "command", digest, reach="sandbox", commands=(words,))


class Person:
    """Answers every question in the same way and remembers what was asked."""

    def __init__(self, approvals: Approvals) -> None:
        self.approvals = approvals
        self.asked: list[str] = []
        self.questions: list[Question] = []

    async def resolve(self, item_id: str, effect: Effect, kind: DecisionKind, grant: int = 0) -> Answer:
        loop = asyncio.get_running_loop()

        def announce(question: Question) -> None:
            self.asked.append(item_id)
            self.questions.append(question)
            loop.call_soon(self.approvals.answer, item_id, Decision(kind, effect.digest, grant=grant))

        return await self.approvals.resolve(item_id, effect, announce)


async def test_a_session_grant_covers_what_it_says_and_can_be_forgotten() -> None:
    person = Person(Approvals())
    assert (await person.resolve("a", edit(), "session")).by == "user"
    assert (await person.resolve("b", edit("d2", "b.txt"), "deny")).by == "session"
    assert (await person.resolve("c", command("ls"), "once")).by == "user"
    assert (await person.resolve("d", command("ls"), "once")).by == "user"
    person.approvals.forget()
    assert (await person.resolve("e", edit(), "once")).by == "user"
    assert person.asked == ["a", "c", "d", "e"]


async def test_the_second_offer_for_a_command_is_its_prefix() -> None:
    person = Person(Approvals())
    first = await person.resolve("a", command("npm", "test", "--fast"), "session", grant=1)
    assert [grant.label for grant in person.questions[0].grants] == [
        "the command npm test --fast",
        "commands that begin with npm test",
    ]
    assert first.why == "commands that begin with npm test"
    assert (await person.resolve("b", command("npm", "test"), "deny")).rules == first.rules
    assert (await person.resolve("c", command("npm", "publish"), "deny")).by == "user"


@pytest.mark.parametrize("effect", [command("cat", ".git/config"), command(), edit(path="sub/.bashrc")])
async def test_nothing_longer_than_once_is_offered_where_only_a_person_may_answer(effect: Effect) -> None:
    person = Person(Approvals("full-auto"))
    await person.resolve("a", effect, "once")
    (question,) = person.questions
    assert question.reasons
    assert question.grants == ()


async def test_always_is_kept_for_the_workspace_only(tmp_path: Path) -> None:
    def approvals(workspace: str) -> Approvals:
        return Approvals(book=RuleBook(tmp_path / workspace, store=tmp_path / "state", user=tmp_path / "none"))

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    await Person(approvals("one")).resolve("a", command("make"), "always")
    assert (await Person(approvals("one")).resolve("b", command("make"), "deny")).by == "rule"
    assert (await Person(approvals("two")).resolve("c", command("make"), "deny")).by == "user"


async def test_what_cannot_be_kept_is_allowed_once(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    book = RuleBook(tmp_path, store=tmp_path / "elsewhere", user=tmp_path / "none")
    person = Person(Approvals(book=book))
    (tmp_path / "elsewhere").write_text("a file where the folder should be")
    answer = await person.resolve("a", command("make"), "always")
    assert (answer.decision.kind, answer.rules) == ("once", ())
    assert "Allowed once only" in answer.why


async def test_an_answer_counts_only_for_the_request_that_was_shown() -> None:
    approvals = Approvals()
    task = asyncio.create_task(approvals.resolve("a", edit("d1"), lambda question: None))
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="other content"):
        approvals.answer("a", Decision("once", "d2"))
    with pytest.raises(UsageError, match="'b'"):
        approvals.answer("b", Decision("once", "d1"))
    with pytest.raises(UsageError, match="only be allowed once"):
        approvals.answer("a", Decision("always", "d1", grant=7))
    assert not task.done()
    approvals.answer("a", Decision("once", "d1"))
    with pytest.raises(UsageError, match="'a'"):
        approvals.answer("a", Decision("once", "d1"))
    assert (await task).decision.kind == "once"
    with pytest.raises(UsageError, match="'a'"):
        approvals.answer("a", Decision("once", "d1"))


async def test_parallel_questions_are_put_one_at_a_time_and_a_grant_answers_the_next() -> None:
    approvals = Approvals()
    announced: list[str] = []
    tasks = [
        asyncio.create_task(approvals.resolve(name, edit(), lambda _, name=name: announced.append(name)))  # type: ignore[misc]
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
    assert [answer.by for answer in results] == ["user", "user", "session"]


async def test_a_mode_that_became_stricter_outranks_a_yes() -> None:
    approvals = Approvals()
    task = asyncio.create_task(approvals.resolve("a", edit(), lambda question: None))
    await asyncio.sleep(0)
    approvals.mode = "read-only"
    approvals.answer("a", Decision("session", "d1"))
    answer = await task
    assert (answer.decision.kind, answer.by) == ("deny", "policy")
    assert approvals.book.rules == ()


async def test_a_mode_that_became_looser_answers_no_open_question() -> None:
    approvals = Approvals()
    task = asyncio.create_task(approvals.resolve("a", edit(), lambda question: None))
    await asyncio.sleep(0)
    approvals.mode = "full-auto"
    await asyncio.sleep(0)
    assert not task.done()
    approvals.answer("a", Decision("deny", "d1"))
    assert (await task).decision.kind == "deny"


async def test_a_cancelled_question_is_closed() -> None:
    approvals = Approvals()
    task = asyncio.create_task(approvals.resolve("a", edit(), lambda question: None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    with pytest.raises(UsageError):
        approvals.answer("a", Decision("once", "d1"))


def test_sources_are_the_newest_and_end_with_the_conversation() -> None:
    approvals = Approvals()
    for name in ("a", "b", "c", "a", "d", "e", "f"):
        approvals.saw(name)
    assert approvals.sources == ("c", "a", "d", "e", "f")
    approvals.forget()
    assert approvals.sources == ()
