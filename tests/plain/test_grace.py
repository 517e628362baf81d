"""What a person wrote before they could read a question does not answer it."""

from __future__ import annotations

import asyncio
import io

import pytest

from gptoss_tui.plain import front
from gptoss_tui.plain.front import PlainFront
from tests.plain.test_front import REQUEST, Person, until
from tests.tui.scripted_agent import ScriptedAgent


async def test_a_line_that_comes_with_the_question_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "GRACE_SECONDS", 3600.0)
    agent, out = ScriptedAgent([[REQUEST, "decision"]]), io.StringIO()
    person = Person(out)
    running = asyncio.create_task(PlainFront(agent, person).run())
    person.type("go")
    await until(out, "Your answer: ")
    person.type("y")
    await until(out, "before you could read the question")
    assert agent.decisions == []
    monkeypatch.setattr(front, "GRACE_SECONDS", 0.0)
    person.type("n")
    person.type(None)
    await running
    assert [given.kind for _, given in agent.decisions] == ["deny"]
