"""One held-out conversation through the real agent, and whether the outcome is right."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.budget import Limits
from gptoss_tui.agent.constraints import Constraints
from gptoss_tui.agent.events import AnswerDone, Event, Recovered, ToolCall, ToolFinished, TurnFinished
from gptoss_tui.engine.types import Engine, SamplingParams
from gptoss_tui.harmony.builtin import browser_namespace, python_namespace
from gptoss_tui.harmony.messages import ToolNamespace
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.tools.base import BuiltinTools, Citation, Effect, ToolResult, Workspace
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from training.data.chat import Chat, Expectation, call_channel

PYTHON_SECONDS = 10
PYTHON_BYTES = 512 * 1024**2
MAX_TOKENS = 900
GREEDY = SamplingParams(temperature=0.0)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a built-in tool. What the evaluation runs needs no approval."""

    summary: str
    answer: Callable[[], Awaitable[str]]
    effect: Effect | None = None

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        return ToolResult(await self.answer())


@dataclass(frozen=True, slots=True)
class _Builtin:
    """One function of a namespace: `answer` gives the reply to a call's arguments."""

    name: str
    answer: Callable[[str], Awaitable[str]]

    async def prepare(self, arguments: str) -> _Call:
        return _Call(self.name, lambda: self.answer(arguments))


@dataclass(frozen=True, slots=True)
class _Group:
    """A namespace of the system message."""

    namespace: ToolNamespace
    tools: tuple[_Builtin, ...]

    def cite(self, answer: str) -> tuple[Citation, ...]:
        return ()

    def reset(self) -> None:
        """The state belongs to one conversation and is not used again."""


def python_group() -> _Group:
    """Runs code in a process of its own, with bounds on time and memory."""
    return _Group(python_namespace(), (_Builtin("python", run_python),))


def browser_group(pages: list[str]) -> _Group:
    """The browser on the pages of one conversation: each call shows the next of them."""

    async def show(arguments: str) -> str:
        return pages.pop(0) if pages else "No pages to access!"

    names = ("search", "open", "find")
    return _Group(browser_namespace("web"), tuple(_Builtin(f"browser.{name}", show) for name in names))


async def run_python(code: str) -> str:
    """What `code` prints, or its error. An isolated interpreter with little time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-c",
            code,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=_bounded,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), PYTHON_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"TimeoutError: the code ran for more than {PYTHON_SECONDS} seconds"
    return output.decode(errors="replace")


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PYTHON_SECONDS, PYTHON_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (PYTHON_BYTES, PYTHON_BYTES))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one conversation. `problems` is empty if it is right."""

    skill: str
    prompt: str
    harmony: bool
    problems: tuple[str, ...]
    transcript: str

    @property
    def right(self) -> bool:
        """Right tool, right files, right answer."""
        return not self.problems


async def run_chat(
    engine: Engine,
    tokenizer: Tokenizer,
    skill: str,
    chat: Chat,
    *,
    sampling: SamplingParams = GREEDY,
    constraints: Constraints | None = None,
) -> Outcome:
    """Send the users' messages of `chat` to an agent in a fresh workspace, allow everything, grade the last turn."""
    with tempfile.TemporaryDirectory() as folder:
        root = _real(folder)
        expected = chat.expectation
        write_files(root, expected.files_before)
        agent = make_agent(engine, tokenizer, chat, Workspace(root), sampling, constraints)
        events: list[Event] = []
        prompts = [step.text for step in chat.steps if step.kind == "user"]
        try:
            for prompt in prompts:
                async with aclosing(agent.submit(prompt)) as stream:
                    events = [event async for event in stream]
        finally:
            agent.close()
        problems = grade(expected, events, read_files(root))
    return Outcome(skill, prompts[-1], is_harmony(events), tuple(problems), transcript(events))


def _real(folder: str) -> Path:
    return Path(folder).resolve()


def make_agent(
    engine: Engine,
    tokenizer: Tokenizer,
    chat: Chat,
    workspace: Workspace,
    sampling: SamplingParams = GREEDY,
    constraints: Constraints | None = None,
) -> Agent:
    """An agent as in the scene of `chat`, with everything allowed."""
    scene = chat.scene
    builtin: list[BuiltinTools] = []
    if scene.browser:
        builtin.append(
            browser_group([s.text for s in chat.steps if s.kind == "reply" and call_channel(s.to) == "analysis"])
        )
    if scene.python:
        builtin.append(python_group())
    registry = ToolRegistry(workspace_tools(workspace, edit=scene.files), builtin)
    return Agent(
        engine,
        tokenizer,
        registry,
        workspace=workspace.root,
        effort=scene.effort,
        sampling=sampling,
        constraints=constraints,
        developer_message=scene.developer_message,
        current_date=scene.date,
        approvals=Approvals(allow_all=True),
        limits=Limits(tokens=MAX_TOKENS, tool_calls=8),
    )


def write_files(root: Path, files: dict[str, str]) -> None:
    """Make the workspace that a conversation starts with."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8", newline="")


def read_files(root: Path) -> dict[str, str]:
    """All files of the workspace and their contents."""
    return {
        os.path.relpath(path, root): path.read_bytes().decode(errors="replace")
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def is_harmony(events: Sequence[Event]) -> bool:
    """Whether nothing had to be recovered, every tool exists, and the turn ends with an answer."""
    last = events[-1]
    return (
        isinstance(last, TurnFinished)
        and last.reason == "done"
        and bool(last.answer.strip())
        and not any(isinstance(e, Recovered) for e in events)
        and not any(isinstance(e, ToolFinished) and e.output.startswith("There is no tool") for e in events)
    )


def grade(expected: Expectation, events: Sequence[Event], files: dict[str, str]) -> list[str]:
    """List what is wrong: tool, files or answer."""
    problems: list[str] = []
    finished = [e for e in events if isinstance(e, ToolFinished)]
    wanted = (expected.tool or "").removeprefix("functions.")
    if wanted and not any(e.tool.removeprefix("functions.") == wanted and e.status == "ok" for e in finished):
        problems.append(f"tool: {[e.tool for e in finished] or 'none'} instead of {wanted}")
    if not wanted and finished:
        problems.append(f"tool: {[e.tool for e in finished]} instead of none")
    after = expected.files_before if expected.files_after is None else expected.files_after
    problems += [f"file {path}: missing" for path in after if path not in files]
    problems += [
        f"file {path}: {files[path]!r} instead of {text!r}"
        for path, text in after.items()
        if files.get(path, text) != text
    ]
    problems += [f"file {path}: should not be there" for path in files if path not in after]
    answer = next((e.answer for e in reversed(events) if isinstance(e, TurnFinished)), "").strip()
    if expected.answer is not None and answer != expected.answer.strip():
        problems.append(f"answer: {answer!r} instead of {expected.answer!r}")
    problems += [f"answer: {answer!r} lacks {part!r}" for part in expected.answer_has if part.strip() not in answer]
    return problems


def transcript(events: Sequence[Event]) -> str:
    """Calls, replies and answer in short, for the list of failures."""
    lines: list[str] = []
    for event in events:
        if isinstance(event, ToolCall):
            lines.append(f"{event.tool}: {event.arguments}")
        elif isinstance(event, ToolFinished):
            lines.append(f"  -> {event.status}: {event.output}")
        elif isinstance(event, AnswerDone):
            lines.append(f"answer: {event.text}")
        elif isinstance(event, Recovered):
            lines.append(f"recovered: {event.what}")
        elif isinstance(event, TurnFinished) and event.reason != "done":
            lines.append(f"ended: {event.reason} {event.error}")
    return "\n".join(lines)
