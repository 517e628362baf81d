"""One conversation, independent of its front end: loads the model, runs prompts one by one, notifies listeners."""

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
"""The built-in model."""

Listener = Callable[["ev.Event"], None]
Spawn = Callable[[Coroutine[Any, Any, None], str], object]
"""Starts a coroutine as the only one of its group; it is cancelled when the screen ends."""


class ConversationView(Protocol):
    """What a conversation needs from the screen around it."""

    def loading_began(self) -> None:
        """The model has started to load."""
        ...

    async def loading_ended(self, info: EngineInfo | None) -> None:
        """The model is loaded, or (None) could not be."""
        ...

    def turns_began(self) -> None:
        """Something is running from now on."""
        ...

    def turns_ended(self) -> None:
        """Nothing is running any more."""
        ...

    def model_lost(self) -> None:
        """The model is gone; the next message loads it again."""
        ...

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        ...

    def show_waiting(self, waiting: Waiting) -> None:
        """Show messages that were typed but not read yet."""
        ...

    def return_to_draft(self, prompts: Sequence[str]) -> None:
        """Put prompts that will not run back into the composer."""
        ...


class ConversationController:
    """Loads the model after the first frame and runs what was typed, in order. All events go to all listeners."""

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
        """The agent; None until there is one."""
        return self._loader.agent

    @property
    def running(self) -> bool:
        """Whether a turn is running."""
        return self.turns.running

    def start(self, prompt: str | None, first: Callable[[], Awaitable[None]] | None = None) -> None:
        """Load the model. `prompt` is the first message; `first` runs before it, as soon as there is an agent."""
        self._first = first
        if prompt:
            self.turns.enqueue(prompt)
        self._load()

    def submit(self, text: str, *, later: bool = False) -> None:
        """Run `text` as the next turn. During a turn it steers that turn, or waits for its end if `later`.

        If no model is loaded, one is loaded first.
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
        """Run something of the agent that is not a turn, such as a compaction; messages typed meanwhile wait."""
        self._spawn(self._run_other(events), "turns")

    async def load(self) -> EngineInfo | None:
        """Load the loader's model now. Returns None if that fails; the failure is shown."""
        return await self._bring_up()

    async def idle(self) -> None:
        """Wait until nothing is running and no typed message is waiting to run."""
        await self._resting.wait()

    def interrupt(self) -> bool:
        """Stop the running turn. Returns False if none is running."""
        if not self.turns.running or self.agent is None:
            return False
        self.agent.interrupt()
        return True

    async def close(self) -> None:
        """Close the agent and the engine."""
        await self._loader.close()

    def _load(self) -> None:
        self._spawn(self._load_now(), "engine")

    async def _load_now(self) -> None:
        """Load the requested model, or the built-in one if that fails, so that there is always a model. A conversation
        begun with another model is not handed to the built-in one, which would know nothing of it.
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
        """Prefill the beginning of the conversation while the user types. Errors will show with the first message."""
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
