"""An agent, an engine and a clock that do exactly what a test tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.commands import ContextReport, Decision, SessionSummary, TurnSummary
from gptoss_tui.agent.own import permit
from gptoss_tui.engine.types import EngineInfo, LoadProgress
from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.harmony.messages import Effort
from gptoss_tui.settings import Mode
from gptoss_tui.tools.base import Effect
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.options import Options

INFO = EngineInfo(
    model="nano",
    backend="torch",
    device="cpu",
    dtype="bfloat16",
    num_layers=4,
    num_experts=8,
    vocab_size=201_088,
    context=32_768,
    weight_bytes=120_000_000,
)

DIFF = """\
--- a/hello.py
+++ b/hello.py
@@ -1,3 +1,3 @@ def greet():
 def greet():
-    print("hi")
+    print("hello")
     return 0
"""


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


Step = ev.Event | float | str
"""An event to emit; "decision" waits for the answer to the last request, "hold" for `release`."""


@dataclass
class ScriptedAgent:
    """Plays one script a turn. Decisions, prompts and interrupts are recorded."""

    scripts: list[Sequence[Step]] = field(default_factory=list)
    effort: Effort = "medium"
    prompts: list[str] = field(default_factory=list)
    efforts: list[Effort] = field(default_factory=list)
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    interrupts: int = 0
    conversations: int = 0
    closed: bool = False
    refusal: GptOssError | None = None
    page: tuple[str, ...] = ()
    chosen_mode: Mode = "ask"
    refused_modes: set[Mode] = field(default_factory=set)
    modes: tuple[Mode, ...] = get_args(Mode)
    steered: list[str] = field(default_factory=list)
    rewound: list[int] = field(default_factory=list)
    warmed: int = 0
    past: list[TurnSummary] = field(default_factory=list)
    session_id: str | None = None
    saved: list[SessionSummary] = field(default_factory=list)
    approvals: Approvals = field(default_factory=lambda: Approvals("full-auto"))
    """What decides about the person's own commands."""

    def __post_init__(self) -> None:
        self._interrupted = asyncio.Event()
        self._released = asyncio.Event()
        self._answer: asyncio.Future[Decision] | None = None
        self._asked: ev.ApprovalRequest | None = None
        self._turn: str | None = None
        self._steering: list[str] = []

    async def submit(self, text: str) -> AsyncIterator[ev.Event]:
        if self.refusal is not None:
            raise self.refusal
        self.prompts.append(text)
        self.efforts.append(self.effort)
        self._interrupted.clear()
        self._turn = turn = f"t{len(self.prompts)}"
        self.past.append(TurnSummary(len(self.prompts), text, "2026-01-02T03:04:05"))
        yield ev.TurnStarted(turn_id=turn, text=text)
        try:
            async for event in self._play(turn):
                yield event
        finally:
            self._turn = None

    async def _play(self, turn: str) -> AsyncIterator[ev.Event]:
        script = self.scripts.pop(0) if self.scripts else answer_script("ok")
        for step in script:
            for text in self._take_steering():
                yield ev.Steered(turn_id=turn, text=text)
            if isinstance(step, ev.Event):
                if isinstance(step, ev.ApprovalRequest):
                    self._asked, self._answer = step, asyncio.get_running_loop().create_future()
                yield replace(step, turn_id=turn)
                await asyncio.sleep(0)
            elif step == "decision":
                async for event in self._decided():
                    yield replace(event, turn_id=turn)
            elif not await self._hold():
                yield ev.TurnFinished(turn_id=turn, reason="interrupted", unsent=tuple(self._take_steering()))
                return
            if self._interrupted.is_set():
                yield ev.TurnFinished(turn_id=turn, reason="interrupted", unsent=tuple(self._take_steering()))
                return
        if not script or not isinstance(script[-1], ev.TurnFinished):
            yield ev.TurnFinished(turn_id=turn, reason="done", unsent=tuple(self._take_steering()))

    def _take_steering(self) -> list[str]:
        taken, self._steering = self._steering, []
        return taken

    async def _decided(self) -> AsyncIterator[ev.Event]:
        assert self._answer is not None
        assert self._asked is not None
        decision, asked = await self._answer, self._asked
        item, tool = asked.item_id, asked.tool
        done = "\n".join(["Done!", *(f"M {path}" for path in asked.paths)])
        yield ev.ApprovalResolved(item_id=item, decision=decision.kind, by="user", message=decision.message)
        if decision.kind == "deny":
            yield ev.ToolFinished(item_id=item, tool=tool, status="denied", output="not allowed", seconds=0.0)
        else:
            yield ev.ToolStarted(item_id=item, tool=tool, preview=asked.preview, preview_type=asked.preview_type)
            yield ev.ToolFinished(item_id=item, tool=tool, status="ok", output=done, seconds=0.1)

    async def _hold(self) -> bool:
        """Wait until released (True) or interrupted (False)."""
        waits = [asyncio.ensure_future(e.wait()) for e in (self._released, self._interrupted)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._released.clear()
        return not self._interrupted.is_set()

    def release(self) -> None:
        self._released.set()

    @property
    def mode(self) -> Mode:
        return self.chosen_mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode in self.refused_modes:
            raise UsageError(f"The mode {mode} is not available here")
        self.chosen_mode = mode

    def steer(self, text: str) -> None:
        """What steers is taken at the next step of the script."""
        if self._turn is None:
            raise UsageError("No turn is running")
        self.steered.append(text)
        self._steering.append(text)

    def effort_cost(self, effort: Effort) -> int:
        return 0 if effort == self.effort else 1200 * bool(self.prompts)

    async def warm(self) -> None:
        self.warmed += 1

    def context(self) -> ContextReport:
        used = 1234 if self.past else 0
        parts = {"system": used, "developer": 0, "user": 0, "reasoning": 0, "calls": 0, "tool_results": 0, "answers": 0}
        return ContextReport(**parts, used=used, cached=used // 2, limit=INFO.context)

    def turns(self) -> tuple[TurnSummary, ...]:
        return tuple(self.past)

    def sessions(self, workspace: Path | None = None) -> list[SessionSummary]:
        return self.saved

    def rewind(self, turn: int) -> str:
        self.rewound.append(turn)
        text = next(summary.text for summary in self.past if summary.number == turn)
        self.past = [summary for summary in self.past if summary.number < turn]
        return text

    def interrupt(self) -> None:
        self.interrupts += 1
        self._interrupted.set()

    async def permit(
        self, item_id: str, tool: str, effect: Effect, show: Callable[[ev.Event], None]
    ) -> ev.ApprovalResolved:
        return await permit(self.approvals, item_id, tool, effect, show)

    def decide(self, item_id: str, decision: Decision) -> None:
        if item_id.startswith("user-"):
            self.approvals.answer(item_id, decision)
            return
        if self._asked is None or self._answer is None or self._answer.done() or item_id != self._asked.item_id:
            raise UsageError("No approval is waiting")
        self.decisions.append((item_id, decision))
        self._answer.set_result(decision)

    def page_text(self, citation: object) -> tuple[str, ...]:
        return self.page

    def new_conversation(self) -> None:
        self.conversations += 1
        self.past.clear()

    def close(self) -> None:
        self.closed = True


class ScriptedEngine:
    """Loads when it is told to, or fails."""

    def __init__(self, *, hold: bool = False, failure: Exception | None = None) -> None:
        self.failure = failure
        self.loads = 0
        self.closed = False
        self.loaded = asyncio.Event()
        if not hold:
            self.loaded.set()

    async def load(self) -> AsyncIterator[LoadProgress]:
        self.loads += 1
        yield LoadProgress("reading weights", 0.5)
        await self.loaded.wait()
        if self.failure is not None:
            raise self.failure
        yield LoadProgress("ready", 1.0, done=True, info=INFO)

    async def info(self) -> EngineInfo | None:
        return None if self.failure else INFO

    async def close(self) -> None:
        self.closed = True


class ScriptedBackend:
    """Hands out a scripted engine and agent."""

    def __init__(self, agent: ScriptedAgent, engine: ScriptedEngine) -> None:
        self.agent = agent
        self.engine = engine

    model = "nano"

    def use_model(self, name: str) -> None:
        self.model = name

    async def sandbox(self) -> str:
        return ""

    def guides(self) -> tuple[str, ...]:
        return ()

    def connect(self) -> ScriptedEngine:
        return self.engine

    def build_agent(self, engine: ScriptedEngine) -> ScriptedAgent:
        assert engine is self.engine
        return self.agent


def answer_script(text: str, *, item: str = "a1") -> list[Step]:
    """An answer in a few deltas."""
    third = max(1, len(text) // 3)
    pieces = [text[i : i + third] for i in range(0, len(text), third)]
    deltas: list[Step] = [ev.AnswerDelta(item_id=item, text=piece) for piece in pieces]
    return [*deltas, ev.AnswerDone(item_id=item, text=text, tokens=12, seconds=0.2), step_finished()]


def reasoning_script(text: str, *, item: str = "r1") -> list[Step]:
    """A thought in two deltas."""
    half = len(text) // 2
    return [
        ev.ReasoningDelta(item_id=item, text=text[:half]),
        ev.ReasoningDelta(item_id=item, text=text[half:]),
        ev.ReasoningDone(item_id=item, text=text, tokens=18, seconds=0.3),
    ]


def edit_script(
    *, diff: str = DIFF, item: str = "c1", warnings: tuple[str, ...] = (), path: str = "hello.py"
) -> list[Step]:
    """An apply_patch call that waits for its approval."""
    patch = f"*** Begin Patch\n*** Update File: {path}\n...\n*** End Patch"
    return [
        ev.ToolCallDelta(item_id=item, tool="apply_patch", text=patch[:20]),
        ev.ToolCallDelta(item_id=item, tool="apply_patch", text=patch[20:]),
        ev.ToolCall(item_id=item, tool="apply_patch", arguments=patch, summary=f"apply_patch {path}"),
        ev.ApprovalRequest(
            item_id=item,
            tool="apply_patch",
            kind="edit",
            title=f"Change {path}",
            preview=diff,
            preview_type="diff",
            digest="d1",
            paths=(path,),
            warnings=warnings,
            grants=("edits of this workspace",),
        ),
        "decision",
    ]


def step_finished(*, step: int = 1, used: int = 1234) -> ev.StepFinished:
    """The end of a step that ran at 60 tokens a second."""
    return ev.StepFinished(
        step=step,
        prompt_tokens=1200,
        cached_tokens=1000,
        prefilled_tokens=200,
        generated_tokens=30,
        prefill_seconds=0.1,
        decode_seconds=0.5,
        context_used=used,
        context_limit=32_768,
    )


def make_app(
    *scripts: Sequence[Step],
    engine: ScriptedEngine | None = None,
    clock: Callable[[], float] | None = None,
    prompt: str | None = None,
    history_path: Path | None = None,
    show_pages: bool = False,
    keys: Mapping[str, str] | None = None,
    state_path: Path | None = None,
    theme: str = "auto",
    vim: bool | None = None,
    workspace: str | Path = "/home/ada/project",
    hardware: Callable[[], str] | None = None,
) -> tuple[GptOssApp, ScriptedAgent]:
    """The app on a scripted agent."""
    agent = ScriptedAgent(list(scripts))
    backend = ScriptedBackend(agent, engine or ScriptedEngine())
    options = Options(
        prompt=prompt,
        workspace=str(workspace),
        history_path=history_path,
        state_path=state_path,
        show_pages=show_pages,
        theme=theme,
        keys=keys or {},
        vim=vim,
    )
    app = GptOssApp(backend, options, clock=clock or Clock(), hardware=hardware)  # type: ignore[arg-type]
    return app, agent
