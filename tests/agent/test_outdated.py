"""A file that changes between the yes and the write: nothing is written, and the person is asked about the new plan."""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, ApprovalResolved, Event, ToolFinished, ToolStarted
from gptoss_tui.tools.apply_patch import ApplyPatchTool
from gptoss_tui.tools.base import OutdatedCallError, Workspace
from tests.agent.helpers import ANSWER, CALL_PATCH, HELLO_PATCH, files_in, make_agent, make_engine, only, run_turn

CHANGE = "*** Begin Patch\n*** Update File: a.txt\n@@\n-two\n+TWO\n*** End Patch"
CALL = CALL_PATCH.replace(HELLO_PATCH, CHANGE)
CALL_HOOK = CALL_PATCH.replace("hello.py", ".git/hooks/pre-commit")


class Person:
    """Says yes to everything; before each yes, the next of `edits` is written to the file."""

    def __init__(self, file: Path, *edits: str) -> None:
        self.file = file
        self.edits = list(edits)
        self.requests: list[ApprovalRequest] = []

    def __call__(self, request: ApprovalRequest) -> Decision:
        self.requests.append(request)
        if self.edits:
            self.file.write_text(self.edits.pop(0))
        return Decision("once", request.digest)


def workspace(root: Path) -> Path:
    (root / "a.txt").write_text("one\ntwo\n")
    return root / "a.txt"


async def test_the_new_plan_is_shown_and_asked_about(tmp_path: Path) -> None:
    person = Person(workspace(tmp_path), "zero\none\ntwo\n")
    events = await run_turn(make_agent(make_engine(CALL, ANSWER), tmp_path), answer=person)
    first, second = person.requests
    assert (tmp_path / "a.txt").read_text() == "zero\none\nTWO\n"
    assert first.digest != second.digest
    assert " zero" not in first.preview
    assert " zero" in second.preview
    assert second.warnings[0].startswith("A file changed after this was shown.")
    assert [first.revision, second.revision] == [0, 1]
    decided = [event.digest for event in events if isinstance(event, ApprovalResolved)]
    assert decided == [first.digest, second.digest]
    assert [event.digest for event in events if isinstance(event, ToolStarted)] == decided
    finished = only(events, ToolFinished)
    assert (finished.status, finished.output) == ("ok", "Done!\nM a.txt")


async def test_the_model_hears_of_it_when_the_change_does_not_fit_any_more(tmp_path: Path) -> None:
    person = Person(workspace(tmp_path), "something else\n")
    events = await run_turn(make_agent(make_engine(CALL, ANSWER), tmp_path), answer=person)
    assert len(person.requests) == 1
    assert (tmp_path / "a.txt").read_text() == "something else\n"
    finished = only(events, ToolFinished)
    assert finished.status == "error"
    assert "does not fit any more" in finished.output
    assert "Nothing like them is in its 1 lines" in finished.output


async def test_the_second_answer_may_be_no(tmp_path: Path) -> None:
    file = workspace(tmp_path)

    def answer(request: ApprovalRequest) -> Decision:
        if request.revision:
            return Decision("deny", request.digest, "leave it")
        file.write_text("zero\none\ntwo\n")
        return Decision("once", request.digest)

    events = await run_turn(make_agent(make_engine(CALL, ANSWER), tmp_path), answer=answer)
    assert file.read_text() == "zero\none\ntwo\n"
    assert "leave it" in only(events, ToolFinished).output


async def test_a_file_that_never_rests_ends_the_call(tmp_path: Path) -> None:
    person = Person(workspace(tmp_path), *(f"{number}\none\ntwo\n" for number in range(9)))
    events = await run_turn(make_agent(make_engine(CALL, ANSWER), tmp_path), answer=person)
    assert len(person.requests) == 4
    assert "changed after the patch was shown" in only(events, ToolFinished).output
    assert (tmp_path / "a.txt").read_text() == "3\none\ntwo\n"


async def test_where_nobody_is_asked_the_new_plan_is_written_at_once(tmp_path: Path) -> None:
    file = workspace(tmp_path)
    agent = make_agent(make_engine(CALL, ANSWER), tmp_path, mode="auto-edit")
    events: list[Event] = []
    async for event in agent.submit("go"):
        if isinstance(event, ApprovalResolved) and not events:
            file.write_text("zero\none\ntwo\n")
        events += [event] if isinstance(event, ApprovalResolved | ToolFinished) else []
    assert file.read_text() == "zero\none\nTWO\n"
    assert only(events, ToolFinished).status == "ok"


async def test_a_change_that_a_person_made_is_planned_anew_as_they_made_it(tmp_path: Path) -> None:
    file = workspace(tmp_path)
    mine = CHANGE.replace("+TWO", "+zwei")

    def answer(request: ApprovalRequest) -> Decision:
        if request.revision == 0:
            return Decision("edit", request.digest, text=mine)
        if request.revision == 1:
            file.write_text("zero\none\ntwo\n")
        return Decision("once", request.digest)

    events = await run_turn(make_agent(make_engine(CALL, ANSWER), tmp_path), answer=answer)
    assert file.read_text() == "zero\none\nzwei\n"
    assert "The user changed this call" in only(events, ToolFinished).output


async def test_a_protected_file_is_written_after_its_own_yes_in_every_mode(tmp_path: Path) -> None:
    (tmp_path / ".git/hooks").mkdir(parents=True)
    agent = make_agent(make_engine(CALL_HOOK, ANSWER), tmp_path, mode="full-auto")
    events = await run_turn(agent, answer=lambda request: Decision("once", request.digest))
    request = only(events, ApprovalRequest)
    assert (request.reasons, request.grants) == (
        (".git/hooks/pre-commit is protected: it decides what git does",),
        (),
    )
    assert (tmp_path / ".git/hooks/pre-commit").exists()
    assert files_in(tmp_path) == [".git"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: each file here is synced."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(os.path.realpath(folder))


async def test_what_is_written_is_what_was_shown_or_nothing(disk: Path) -> None:
    """A thousand files, five in six of them touched or changed in between."""
    rng = random.Random(7)
    tool = ApplyPatchTool(Workspace(disk))
    written = refused = 0
    for number in range(1000):
        file = workspace(disk)
        prepared = await tool.prepare(CHANGE)
        shown = hashlib.sha256(prepared.plan.changes[0].new or b"").hexdigest()
        kind = rng.choice(("none", "content", "touched", "same size", "mode", "replaced"))
        disturb(file, kind, number)
        before = file.read_bytes()
        try:
            await prepared.run(lambda text: None)
        except OutdatedCallError:
            refused += 1
            assert file.read_bytes() == before
            again = await prepared.again()
            assert kind == "mode" or again.effect.digest != prepared.effect.digest
            await again.run(lambda text: None)
            assert "TWO" in file.read_text()
        else:
            written += 1
            assert kind in ("none", "touched", "replaced")
            assert hashlib.sha256(file.read_bytes()).hexdigest() == shown
        file.unlink()
    assert (written > 300, refused > 300) == (True, True)


def disturb(file: Path, kind: str, number: int) -> None:
    """What another program may do to the file meanwhile."""
    match kind:
        case "content":
            file.write_text(f"{number}\none\ntwo\n")
        case "same size":
            file.write_text("uno\ntwo\n")
        case "touched":
            file.touch()
        case "mode":
            file.chmod(0o600)
        case "replaced":
            file.unlink()
            file.write_text("one\ntwo\n")
