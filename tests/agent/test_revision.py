"""A call that a person changes before allowing it: planned anew, shown anew, and told to the model."""

from __future__ import annotations

from pathlib import Path

from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, ApprovalResolved, ToolFinished, ToolStarted
from tests.agent.helpers import ANSWER, CALL_PATCH, HELLO_PATCH, files_in, make_agent, make_engine, only, run_turn

TWO = (
    "*** Begin Patch\n*** Add File: a.txt\n+a\n*** Add File: b.txt\n+b\n*** Update File: old.txt\n"
    "*** Move to: new.txt\n-old\n+new\n*** End Patch"
)
CALL_TWO = CALL_PATCH.replace(HELLO_PATCH, TWO)


class Person:
    """Gives one decision after the other."""

    def __init__(self, *decisions: Decision) -> None:
        self.decisions = list(decisions)
        self.requests: list[ApprovalRequest] = []

    def __call__(self, request: ApprovalRequest) -> Decision:
        self.requests.append(request)
        wanted = self.decisions.pop(0)
        return Decision(wanted.kind, request.digest, text=wanted.text, leave_out=wanted.leave_out)


async def test_a_changed_patch_is_planned_and_asked_about_anew(tmp_path: Path) -> None:
    changed = HELLO_PATCH.replace("'hello'", "'goodbye'")
    person = Person(Decision("edit", "", text=changed), Decision("once", ""))
    events = await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path), answer=person)
    first, second = person.requests
    assert (first.source, first.revision) == (HELLO_PATCH, 0)
    assert (second.source, second.revision) == (changed, 1)
    assert first.digest != second.digest
    assert "goodbye" in second.preview
    assert (tmp_path / "hello.py").read_text() == "print('goodbye')\n"
    resolved = [event for event in events if isinstance(event, ApprovalResolved)]
    assert [(event.decision, event.digest) for event in resolved] == [("edit", first.digest), ("once", second.digest)]
    assert only(events, ToolStarted).digest == second.digest
    output = only(events, ToolFinished).output
    assert changed in output
    assert output.startswith("[The user changed this call")
    assert output.endswith("Done!\nA hello.py")


async def test_a_change_that_is_no_patch_leaves_the_call_as_it_was(tmp_path: Path) -> None:
    person = Person(Decision("edit", "", text="*** Begin Patch\nnonsense"), Decision("deny", ""))
    await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path), answer=person)
    first, second = person.requests
    assert (second.digest, second.source) == (first.digest, HELLO_PATCH)
    assert second.warnings[0].startswith("Your change cannot be used: ")
    assert files_in(tmp_path) == []


async def test_files_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old\n")
    person = Person(Decision("edit", "", leave_out=("b.txt", "new.txt")), Decision("once", ""))
    events = await run_turn(make_agent(make_engine(CALL_TWO, ANSWER), tmp_path), answer=person)
    assert [request.selectable for request in person.requests] == [True, False]
    assert person.requests[1].paths == ("a.txt",)
    assert files_in(tmp_path) == ["a.txt", "old.txt"]
    output = only(events, ToolFinished).output
    assert "b.txt" not in output
    assert "*** Add File: a.txt" in output


async def test_what_a_person_writes_is_held_to_the_same_rules(tmp_path: Path) -> None:
    outside = HELLO_PATCH.replace("hello.py", "../hello.py")
    guarded = HELLO_PATCH.replace("hello.py", ".vscode/settings.json")
    person = Person(Decision("edit", "", text=outside), Decision("edit", "", text=guarded), Decision("deny", ""))
    await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path, mode="ask"), answer=person)
    assert "'..' is not allowed" in person.requests[1].warnings[0]
    assert "protected" in person.requests[2].reasons[0]
    assert files_in(tmp_path) == []


async def test_an_edit_of_a_call_that_has_none_is_refused(tmp_path: Path) -> None:
    person = Person(Decision("edit", "", leave_out=("hello.py",)), Decision("deny", ""))
    await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path), answer=person)
    assert person.requests[1].warnings[0].startswith("Your change cannot be used: ")
    assert files_in(tmp_path) == []
