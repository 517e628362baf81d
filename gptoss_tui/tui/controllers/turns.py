"""Running turns one after another, the queue of waiting prompts, and steering the running turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.tui.late import late
from gptoss_tui.tui.widgets.queue import Waiting

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.agent.commands import AgentPort
else:
    ev = late("gptoss_tui.agent.events")


class TurnController:
    """The queue and the running turn. `show` receives all events of all turns, in order."""

    def __init__(self, show: Callable[[ev.Event], None], on_waiting: Callable[[Waiting], None]) -> None:
        self._show = show
        self._on_waiting = on_waiting
        self._queue: list[str] = []
        self._steering: list[str] = []
        self.running = False

    @property
    def queue(self) -> tuple[str, ...]:
        """The waiting prompts, in order."""
        return tuple(self._queue)

    def enqueue(self, prompt: str) -> None:
        """Add a prompt to the queue."""
        self._queue.append(prompt)
        self._changed()

    def steer(self, agent: AgentPort, text: str) -> None:
        """Pass `text` to the running turn; if that has just ended, `text` is queued instead."""
        try:
            agent.steer(text)
        except UsageError:
            self.enqueue(text)
            return
        self._steering.append(text)
        self._changed()

    def take_last(self) -> str | None:
        """Take back the newest waiting prompt."""
        return self.take(len(self._queue) - 1)

    def take(self, index: int) -> str | None:
        """Take back the waiting prompt at `index`; None if there is none."""
        prompt = self._queue.pop(index) if 0 <= index < len(self._queue) else None
        self._changed()
        return prompt

    def take_all(self) -> list[str]:
        """Take back all waiting prompts."""
        prompts, self._queue = self._queue, []
        self._changed()
        return prompts

    async def run(self, agent: AgentPort) -> None:
        """Run turns until the queue is empty or a turn does not end well. Errors become the turn's last event."""
        self.running = True
        try:
            while self._queue:
                prompt = self._queue.pop(0)
                self._changed()
                if not await self._run_turn(agent, prompt):
                    return
        finally:
            self.running = False

    async def follow(self, events: AsyncGenerator[ev.Event, None]) -> None:
        """Show the events of something that is not a turn. Errors become a notice."""
        self.running = True
        try:
            async with aclosing(events):
                async for event in events:
                    self._show(event)
        except GptOssError as error:
            self._show(ev.Notice(text=error.message, hint=error.hint or ""))
        finally:
            self.running = False

    async def _run_turn(self, agent: AgentPort, prompt: str) -> bool:
        """Run one turn. Returns True if it ended on its own. A prompt whose turn never began goes back to the queue."""
        began = False
        end = ev.TurnFinished(reason="failed", error="The turn ended without a result.")
        try:
            async with aclosing(cast("AsyncGenerator[ev.Event, None]", agent.submit(prompt))) as events:
                async for event in events:
                    began = True
                    if isinstance(event, ev.TurnFinished):
                        end = event
                    else:
                        self._heard(event)
        except GptOssError as error:
            end = ev.TurnFinished(reason="failed", error=error.message, hint=error.hint or "")
        except Exception as error:  # the conversation must survive a bug in a turn
            hint = "This is a bug in gptoss-tui; please report it."
            end = ev.TurnFinished(reason="failed", error=f"{type(error).__name__}: {error}", hint=hint)
        self._steering.clear()
        self._queue[:0] = [*([] if began else [prompt]), *end.unsent]
        self._changed()
        self._show(end)
        return end.reason in ("done", "limit")

    def _heard(self, event: ev.Event) -> None:
        if isinstance(event, ev.Steered) and event.text in self._steering:
            self._steering.remove(event.text)
            self._changed()
        self._show(event)

    def _changed(self) -> None:
        self._on_waiting(Waiting(tuple(self._steering), tuple(self._queue)))
