"""The plain app on a scripted agent: what is typed, what is said, and in which order."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gptoss_tui import patch
from gptoss_tui.agent import events as ev
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.attached import split_message
from gptoss_tui.agent.commands import UndoOutcome
from gptoss_tui.agent.skills import find_skills
from gptoss_tui.plain.commands import COMMANDS, FRONT_COMMANDS, help_lines, run_command
from gptoss_tui.plain.console import Console
from gptoss_tui.plain.front import PlainFront, _until_told
from gptoss_tui.plain.questions import choices, question, read_answer
from gptoss_tui.plain.speaker import OUTPUT_LINES, Speaker
from gptoss_tui.undo import Choice, UndoStore
from tests.agent.helpers import files_in, make_agent, make_engine
from tests.tui.scripted_agent import ScriptedAgent, Step, answer_script, edit_script, reasoning_script

REQUEST = replace(
    next(step for step in edit_script() if isinstance(step, ev.ApprovalRequest)),
    grants=("edits of this workspace",),
    warnings=("It is a big change",),
    details=(("in", "/home/ada"),),
)


class Pipe(io.StringIO):
    """Input that is no terminal."""


class Person(Console):
    """A console at which a person sits: lines come when `type` says so."""

    def __init__(self, writes: io.StringIO) -> None:
        super().__init__(Pipe(), writes)
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()
        self._next: asyncio.Task[str | None] | None = None

    @property
    def interactive(self) -> bool:
        return True

    def type(self, line: str | None) -> None:
        self._typed.put_nowait(line)

    def line(self) -> asyncio.Task[str | None]:
        if self._next is None:
            self._next = asyncio.ensure_future(self._typed.get())
        return self._next

    async def take(self) -> str | None:
        line = await self.line()
        self._next = None
        return line


async def said(agent: ScriptedAgent, *lines: str, prompt: str | None = None) -> str:
    """All that the app says when `lines` are piped in."""
    out = io.StringIO()
    console = Console(Pipe("".join(f"{line}\n" for line in lines)), out)
    assert await PlainFront(agent, console).run(prompt) == 0
    return out.getvalue()


async def until(out: io.StringIO, what: str, times: int = 1) -> None:
    for _ in range(6000):
        if out.getvalue().count(what) >= times:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never said: {what}\n{out.getvalue()}")


async def test_a_turn_is_said_with_who_speaks() -> None:
    text = await said(ScriptedAgent([[*reasoning_script("I look first."), *answer_script("All done.\nReally.")]]), "hi")
    assert "Thinking: I look first.\nAnswer: All done.\nReally.\n" in text


async def test_each_piped_line_is_a_turn_of_its_own() -> None:
    agent = ScriptedAgent()
    await said(agent, "one", "", "two", prompt="zero")
    assert agent.prompts == ["zero", "one", "two"]
    assert agent.steered == []


@pytest.mark.parametrize(
    ("lines", "kind", "grant", "message"),
    [
        (["1"], "once", 0, ""),
        (["y"], "once", 0, ""),
        (["2"], "session", 0, ""),
        (["3"], "always", 0, ""),
        (["n"], "deny", 0, ""),
        (["5", "not like this"], "deny", 0, "not like this"),
        (["what?", "99", "1"], "once", 0, ""),
    ],
)
async def test_answers(lines: list[str], kind: str, grant: int, message: str) -> None:
    agent = ScriptedAgent([[REQUEST, "decision", *answer_script("Fine.")]])
    text = await said(agent, "go", *lines)
    ((item, decision),) = agent.decisions
    assert (item, decision.kind, decision.grant, decision.message, decision.digest) == (
        "c1",
        kind,
        grant,
        message,
        "d1",
    )
    assert "Answer: Fine." in text


async def test_the_question_says_everything_before_it_asks() -> None:
    text = await said(ScriptedAgent([[REQUEST, "decision"]]), "go", "n")
    at = [
        text.index(part)
        for part in ("in: /home/ada", "Warning: It is a big change", '+    print("hello")', "1. allow once")
    ]
    assert at == sorted(at)


async def test_deny_and_stop_ends_the_turn() -> None:
    agent = ScriptedAgent([[REQUEST, "decision", "hold"]])
    text = await said(agent, "go", str(len(choices(REQUEST))))
    assert agent.interrupts == 1
    assert "Stopped." in text


async def test_input_that_ends_at_a_question_denies_by_stopping() -> None:
    agent = ScriptedAgent([[REQUEST, "hold"]])
    await said(agent, "go")
    assert agent.decisions == []
    assert agent.interrupts == 1


async def test_a_person_steers_queues_and_stops() -> None:
    hold: list[Step] = [ev.AnswerDelta(item_id="a", text="working\n"), "hold"]
    agent, out = ScriptedAgent([hold, hold]), io.StringIO()
    person = Person(out)
    running = asyncio.ensure_future(PlainFront(agent, person).run("go"))
    await until(out, "working")
    person.type("use tabs")
    await until(out, "before its next step")
    person.type("/queue then this")
    person.type("/new")
    await until(out, "is not available while the model works")
    agent.release()
    await until(out, "Answer: working", times=2)
    assert agent.prompts == ["go", "use tabs"], "what came too late to steer runs first"
    person.type("/stop")
    await until(out, "Not sent: then this")
    person.type("/quit")
    assert await running == 0


async def test_commands() -> None:
    agent = ScriptedAgent()
    text = await said(
        agent, "hi", "/effort high", "/effort", "/mode auto-edit", "/mode x", "/turns", "/nothing", "/new"
    )
    assert agent.effort == "high"
    assert agent.mode == "auto-edit"
    assert "1200 tokens will be read again" in text
    assert "1. hi" in text
    assert "Error: There is no mode x" in text
    assert "Error: There is no command /nothing. /help lists them" in text
    assert agent.conversations == 1


def test_help_names_every_command() -> None:
    text = "\n".join(help_lines())
    assert all(f"/{name}" in text for name in COMMANDS)
    assert all(form in text for form in FRONT_COMMANDS)


async def test_a_number_that_is_none_is_refused() -> None:
    assert "Error: x is not a turn number" in await said(ScriptedAgent(), "/undo x")


@dataclass
class Undoing(ScriptedAgent):
    """Takes back what a real store knows of."""

    store: UndoStore | None = None

    async def undo(self, turn: int | None = None, choices: dict[str, Choice] | None = None) -> UndoOutcome:
        assert self.store is not None
        report = self.store.undo("1", choices or {})
        return UndoOutcome(turns=(1,) if report.done else (), reports=(report,))


@pytest.fixture
def undoing(tmp_path: Path) -> Undoing:
    """A turn wrote `two` over `one`, and a person made it `three` since."""
    root = tmp_path / "project"
    root.mkdir()
    file, store = root / "a.txt", UndoStore(root, tmp_path / "state")
    file.write_text("one\n")
    store.begin("1")
    store.apply(patch.plan(patch.parse("*** Begin Patch\n*** Update File: a.txt\n-one\n+two\n*** End Patch"), root))
    file.write_text("three\n")
    return Undoing(store=store)


@pytest.mark.parametrize(
    ("answer", "content", "told"),
    [
        ("keep it", "three\n", "Turn 1 is undone."),
        ("put it back", "one\n", "a.txt: restored"),
        ("stop here", "three\n", "Stopped. a.txt is as it was."),
    ],
)
async def test_a_file_that_was_changed_since_is_asked_about(
    undoing: Undoing, tmp_path: Path, answer: str, content: str, told: str
) -> None:
    offered = await said(undoing, "/undo")
    number = next(row.split(".")[0].strip() for row in offered.splitlines() if answer in row)
    text = await said(undoing, "/undo", "nonsense", number)
    assert "That is none of the answers" in text
    assert told in text
    assert (tmp_path / "project" / "a.txt").read_text() == content


async def test_both_can_be_seen_before_deciding(undoing: Undoing) -> None:
    offered = await said(undoing, "/undo")
    number = next(row.split(".")[0].strip() for row in offered.splitlines() if "see both" in row)
    text = await said(undoing, "/undo", number)
    assert "  -three\n  +one\n" in text
    assert "Stopped." in text, "the input ended"


def test_long_lines_are_said_in_sentences_and_output_is_cut() -> None:
    lines: list[str] = []
    speaker = Speaker(lines.append)
    for word in ("This is a sentence. " * 12).split(" "):
        speaker.apply(ev.AnswerDelta(item_id="a", text=f"{word} "))
    assert len(lines) == 1
    assert lines[0].endswith("sentence.")
    speaker.apply(ev.ToolFinished(item_id="c", tool="t", status="ok", output="x\n" * 50, seconds=1))
    assert lines[-1] == f"  and {50 - OUTPUT_LINES} more lines"
    printed = "\n".join(map(str, range(50)))
    speaker.apply(ev.ToolFinished(item_id="d", tool="shell", status="ok", output=printed, seconds=1))
    assert lines[-18:] == ["  3", "  and 30 more lines", *(f"  {n}" for n in range(34, 50))]
    deque(question(REQUEST))
    assert read_answer(REQUEST, "0") is None


def test_a_plan_is_said_once_and_then_what_changed() -> None:
    lines: list[str] = []
    speaker = Speaker(lines.append)
    for number, done in enumerate(("in_progress", "completed")):
        steps = [{"step": "Read\x1b[2J it", "status": done}, {"step": "Write it", "status": "pending"}]
        plan = json.dumps({"plan": steps, "explanation": "" if number else "Two steps."})
        speaker.apply(ev.ToolCall(item_id="p", tool="update_plan", arguments=plan, summary="update_plan"))
        speaker.apply(ev.ToolFinished(item_id="p", tool="update_plan", status="ok", output="Plan updated", seconds=0))
    assert lines == [
        "Plan, 0 of 2 done: Two steps.",
        "  Now: Read␛[2J it",
        "  To do: Write it",
        "Plan, 1 of 2 done.",
        "  Done: Read␛[2J it",
    ]


async def test_hostile_text_writes_no_escape_sequence() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2Jx\u202ey"
    request = replace(REQUEST, title=hostile, preview=hostile, details=((hostile, hostile),))
    agent = ScriptedAgent([[*answer_script(hostile), request, "decision"]])
    text = await said(agent, hostile, "n", f"/{hostile}")
    assert "\x1b" not in text
    assert "\u202e" not in text


async def test_a_command_of_the_persons_own_is_asked_about_and_told_with_the_next_message(tmp_path: Path) -> None:
    agent = ScriptedAgent(approvals=Approvals("ask"))
    out = io.StringIO()
    console = Console(Pipe("!echo $((6*7)) > out; cat out\n1\nwhat was that?\nand?\n"), out)
    assert await PlainFront(agent, console, tmp_path).run() == 0
    text = out.getvalue()
    assert text.index("Approval needed: Run your command") < text.index("Tool result: ok") < text.index("  42\n")
    assert (tmp_path / "out").read_text() == "42\n"
    typed, attached = split_message(agent.prompts[0])
    assert (typed, len(attached)) == ("what was that?", 1)
    assert attached[0].startswith("the user ran: echo")
    assert agent.prompts[1] == "and?"


async def test_a_denied_or_empty_command_does_not_run(tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(Pipe("!touch made\nn\n!\n"), out)
    assert await PlainFront(ScriptedAgent(approvals=Approvals("ask")), console, tmp_path).run() == 0
    assert "Tool result: denied" in out.getvalue()
    assert "There is no command" in out.getvalue()
    assert files_in(tmp_path) == []


async def test_ctrl_c_ends_a_command_of_the_persons_own(tmp_path: Path) -> None:
    out = io.StringIO()
    person = Person(out)
    front = PlainFront(ScriptedAgent(), person, tmp_path)
    running = asyncio.create_task(front.run())
    person.type("!echo begun > seen; sleep 100")
    await until(out, "Approval needed")
    person.type("1")
    while not files_in(tmp_path):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    front.interrupt()
    await until(out, "stopped by the user")
    person.type(None)
    assert await running == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_who_is_told_to_end_does_so_in_good_order(number: signal.Signals) -> None:
    settled: list[bool] = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            settled.append(True)
        return 0

    assert (await _until_told(work()), settled) == (128 + number, [True])
    asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_saved_prompt_of_the_project_is_read_out_before_its_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTOSS_TUI_APPROVALS", str(tmp_path / "approvals"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".agents" / "commands" / "look.md"
    file.parent.mkdir(parents=True)
    file.write_text("Look at $1.\nThen say what.")
    agent = ScriptedAgent([answer_script("Done.")])
    out = await said(agent, "/look src", "/look src")
    assert "/look is the project's: .agents/commands/look.md. It says:\n  Look at $1.\n  Then say what.\n" in out
    assert agent.prompts[0] == "Look at src.\nThen say what."
    assert "There is no command /lok" in await said(agent, "/lok")


async def test_skills_are_listed_with_whose_they_are(tmp_path: Path) -> None:
    file = tmp_path / "work" / ".agents" / "skills" / "review" / "SKILL.md"
    file.parent.mkdir(parents=True)
    file.write_text("---\nname: review\ndescription: Looks twice.\n---\n")
    lines: list[str] = []
    for skills in (lambda: find_skills(tmp_path / "work"), tuple):
        agent = make_agent(make_engine(), tmp_path, skills=skills)
        await run_command(agent, lines.append, "/skills", running=False)
    assert lines == [
        "review, of the project: Looks twice. (.agents/skills/review/SKILL.md)",
        "There are no skills that the model is told about.",
    ]
