"""One conversation as a front drives it: the model comes up, prompts run one by one, every listener hears it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from gptoss_tui.errors import EngineError
from gptoss_tui.tui.controllers.loading import LoadFailure, ModelLoader
from gptoss_tui.tui.controllers.turns import TurnController
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.engine.types import EngineInfo
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.widgets.queue import Waiting
else:
    ev = late("gptoss_tui.agent.events")

NANO = "nano"
"""The model that is always there."""

Listener = Callable[["ev.Event"], None]
Spawn = Callable[[Coroutine[Any, Any, None], str], object]
"""Runs a coroutine as the only one of its group, until the screen ends."""


class ConversationView(Protocol):
    """What a conversation needs from the screen around it."""

    def loading_began(self) -> None:
        """The model comes up from now on."""
        ...

    async def loading_ended(self, info: EngineInfo | None) -> None:
        """The model is there, or (None) it is not."""
        ...

    def turns_began(self) -> None:
        """Something runs from now on."""
        ...

    def turns_ended(self) -> None:
        """Nothing runs any more."""
        ...

    def model_lost(self) -> None:
        """The model went away; the next message loads it again."""
        ...

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Tell the person something, in the conversation."""
        ...

    def show_waiting(self, waiting: Waiting) -> None:
        """Show what was typed and not read yet."""
        ...

    def return_to_draft(self, prompts: Sequence[str]) -> None:
        """These prompts will not run; they go back to where they were typed."""
        ...


class ConversationController:
    """Loads the model behind the first frame and runs what was typed, in order. Every event goes to all listeners."""

    def __init__(
        self, loader: ModelLoader, view: ConversationView, spawn: Spawn, listeners: Sequence[Listener]
    ) -> None:
        self._loader = loader
        self._view = view
        self._spawn = spawn
        self._listeners = listeners
        self._first: Callable[[], Awaitable[None]] | None = None
        self._resting = asyncio.Event()
        self._resting.set()
        self.turns = TurnController(self._heard, view.show_waiting)

    @property
    def agent(self) -> AgentPort | None:
        """The agent, once there is one."""
        return self._loader.agent

    @property
    def running(self) -> bool:
        """Whether a turn runs."""
        return self.turns.running

    def start(self, prompt: str | None, first: Callable[[], Awaitable[None]] | None = None) -> None:
        """Bring the model up; `prompt` is the first message, and `first` runs before it, once there is an agent."""
        self._first = first
        if prompt:
            self.turns.enqueue(prompt)
        self._load()

    def submit(self, text: str, *, later: bool = False) -> None:
        """Run `text` as the next turn; while one runs, steer that, or (`later`) wait behind it.

        Without a model it loads one first.
        """
        if self.turns.running and not later and self.agent is not None:
            self.turns.steer(self.agent, text)
            return
        self.turns.enqueue(text)
        if self._loader.state == "failed":
            self._load()
        else:
            self._run_queue()

    def run_other(self, events: AsyncGenerator[ev.Event, None]) -> None:
        """Run something of the agent that is no turn, such as a compaction; what is typed meanwhile waits behind it."""
        self._spawn(self._run_other(events), "turns")

    async def load(self) -> EngineInfo | None:
        """Bring up what the loader was told to, now. None when that fails, which is told."""
        return await self._bring_up()

    async def idle(self) -> None:
        """Return when nothing runs, and nothing that was typed waits to run."""
        await self._resting.wait()

    def interrupt(self) -> bool:
        """Stop the running turn; False when none runs."""
        if not self.turns.running or self.agent is None:
            return False
        self.agent.interrupt()
        return True

    async def close(self) -> None:
        """End the agent and the engine."""
        await self._loader.close()

    def _load(self) -> None:
        self._spawn(self._load_now(), "engine")

    async def _load_now(self) -> None:
        """Bring the model up that was asked for, or the built-in one: nobody is left without any. What was begun with
        another model is not given to that one, which would know nothing of it.
        """
        wanted = self._loader.model
        begun = self.agent is not None and bool(self.agent.turns())
        if await self._bring_up(again=begun) is None and wanted != NANO and not begun:
            await self._loader.use_model(NANO)
            if await self._bring_up() is not None:
                hint = f"/model {wanted} tries again, /model lists all."
                self._view.say("info", f"{NANO}, which is built in, is loaded instead.", hint)

    async def _bring_up(self, *, again: bool = False) -> EngineInfo | None:
        self._view.loading_began()
        outcome = await self._loader.load()
        if isinstance(outcome, LoadFailure):
            await self._view.loading_ended(None)
            retry = "Send a message to try again." if again or self._loader.model == NANO else ""
            self._view.say("error", outcome.message, f"{outcome.hint}\n{retry}".strip())
            self._view.return_to_draft(self.turns.take_all())
            return None
        await self._view.loading_ended(outcome)
        if self._first is not None:
            first, self._first = self._first, None
            await first()
        self._run_queue()
        if not self.turns.running:
            self._spawn(self._warm(), "warm")
        return outcome

    def _run_queue(self) -> None:
        if self._loader.state == "ready" and not self.turns.running and self.turns.queue:
            self._spawn(self._run_turns(), "turns")

    async def _warm(self) -> None:
        """Read the beginning of the conversation while the person types. What is wrong shows with the first message."""
        if self.agent is not None:
            with suppress(EngineError):
                await self.agent.warm()

    async def _run_turns(self) -> None:
        agent = self.agent
        if agent is None:
            return
        with self._moving():
            await self.turns.run(agent)

    async def _run_other(self, events: AsyncGenerator[ev.Event, None]) -> None:
        with self._moving():
            await self.turns.follow(events)
        self._run_queue()

    @contextmanager
    def _moving(self) -> Iterator[None]:
        self._resting.clear()
        self._view.turns_began()
        try:
            yield
        finally:
            self._resting.set()
        self._view.turns_ended()

    def _heard(self, event: ev.Event) -> None:
        for listener in self._listeners:
            listener(event)
        if isinstance(event, ev.TurnFinished):
            if event.reason in ("interrupted", "failed"):
                self._view.return_to_draft(self.turns.take_all())
            if event.reason == "failed":
                self._spawn(self._after_failure(), "engine")

    async def _after_failure(self) -> None:
        if not await self._loader.check():
            self._view.model_lost()
