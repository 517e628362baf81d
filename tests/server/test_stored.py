"""Responses on disk and in the background, and what happens to them when something goes wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path

import openai
import pytest

from gptoss_tui.server.responses import run, store
from gptoss_tui.server.responses.run import EventLog, LoggedEvent
from gptoss_tui.server.responses.store import KEEP_DAYS, ResponseStore, Stored
from tests.server.events import events_of
from tests.server.running import Running, running, until
from tests.server.scripted import ScriptedEngine, final


def stored(number: int) -> Stored:
    return Stored({"id": f"resp_{number:032x}", "output": [], "previous_response_id": None}, ())


async def made_in_background(server: Running) -> str:
    made = await server.client.responses.create(model="gpt-oss-20b", input="x", background=True)
    await until(lambda: server.service.gate.inside == 0)
    return made.id


async def test_one_that_failed_in_the_background_can_be_asked_why(tmp_path: Path) -> None:
    async with running(ScriptedEngine(final("x")), store=tmp_path) as server:
        server.engine.die = True
        found = await server.client.responses.retrieve(await made_in_background(server))
    assert found.status == "failed"
    assert found.error is not None
    assert "SIGKILL" in found.error.message


async def test_an_answer_that_cannot_be_stored_is_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "a file"
    folder.write_text("no folder", encoding="utf-8")
    async with running(ScriptedEngine(final("hello")), store=folder) as server:
        events = await events_of(server, {"input": "x"})
    assert (events[-1]["type"], events[-1]["response"]["store"]) == ("response.completed", False)
    assert "cannot be stored" in caplog.text


async def test_one_made_in_the_background_that_cannot_be_stored_can_be_read(tmp_path: Path) -> None:
    """As long as its events are kept: nobody was there to get it."""
    folder = tmp_path / "a file"
    folder.write_text("no folder", encoding="utf-8")
    async with running(ScriptedEngine(final("hello")), store=folder) as server:
        made = await made_in_background(server)
        found = await server.client.responses.retrieve(made)
        assert (found.status, found.store, found.output_text) == ("completed", False, "hello")
        await server.client.responses.delete(made)
        with pytest.raises(openai.NotFoundError):
            await server.client.responses.retrieve(made)


async def test_what_is_deleted_cannot_be_streamed(tmp_path: Path) -> None:
    async with running(ScriptedEngine(final("secret")), store=tmp_path) as server:
        made = await made_in_background(server)
        stream = await server.client.responses.retrieve(made, stream=True)
        assert "secret" in str([event async for event in stream])
        await server.client.responses.delete(made)
        with pytest.raises(openai.NotFoundError):
            await server.client.responses.retrieve(made, stream=True)


async def test_nothing_is_made_in_the_background_that_nobody_could_read() -> None:
    async with running(ScriptedEngine(final("x"))) as server:
        assert (await server.post("/v1/responses", {"input": "x", "background": True}))[0] == 400
    assert server.engine.prompts == []


async def test_events_that_are_kept_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "KEPT_BYTES", 3000)
    async with running(ScriptedEngine(final("x")), store=tmp_path) as server:
        made = [await made_in_background(server) for _ in range(4)]
        kept = [server.service.runs.log(one, "") is not None for one in made]
    assert kept == [False, False, False, True]
    log = EventLog()
    log.put(LoggedEvent(b"123", last=False))
    assert log.size == 3


def test_a_server_that_runs_for_long_stores_no_more_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "KEEP_FILES", 3)
    monkeypatch.setattr(store, "_SAVES_BETWEEN_TIDYING", 5)
    responses = ResponseStore(tmp_path)
    for number in range(10):
        responses.save(stored(number))
        os.utime(tmp_path / f"resp_{number:032x}.json", (number, time.time() - 100 + number))
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(store, "KEEP_BYTES", 1)
    responses.tidy()
    assert not list(tmp_path.iterdir())


def test_nothing_of_others_is_tidied_away(tmp_path: Path) -> None:
    """The folder is named by a person, who may keep other things there."""
    responses = ResponseStore(tmp_path)
    responses.save(stored(1))
    (tmp_path / "folder").mkdir()
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    old = time.time() - KEEP_DAYS * 86400 - 60
    for path in tmp_path.iterdir():
        os.utime(path, (old, old))
    responses.tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "thesis.txt"]
