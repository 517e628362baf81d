"""Running turns one after another, and the prompts that wait for their turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import cast

from gptoss_tui.agent.commands import AgentPort
from gptoss_tui.agent.events import Event, TurnFinished
from gptoss_tui.errors import GptOssError


class TurnController:
    """The queue and the running turn. `show` gets every event of every turn, in order."""

    def __init__(self, show: Callable[[Event], None], on_queue: Callable[[Sequence[str]], None]) -> None:
        self._show = show
        self._on_queue = on_queue
        self._queue: list[str] = []
        self.running = False

    @property
    def queue(self) -> tuple[str, ...]:
        """The prompts that wait, first one first."""
        return tuple(self._queue)

    def enqueue(self, prompt: str) -> None:
        """Let a prompt wait for its turn."""
        self._queue.append(prompt)
        self._on_queue(self._queue)

    def take_last(self) -> str | None:
        """Take the newest waiting prompt back."""
        prompt = self._queue.pop() if self._queue else None
        self._on_queue(self._queue)
        return prompt

    def take_all(self) -> list[str]:
        """Take all waiting prompts back."""
        prompts, self._queue = self._queue, []
        self._on_queue(self._queue)
        return prompts

    async def run(self, agent: AgentPort) -> None:
        """Run turns until nothing waits or one does not end well. Errors become the turn's last event."""
        self.running = True
        try:
            while self._queue:
                prompt = self._queue.pop(0)
                self._on_queue(self._queue)
                if not await self._run_turn(agent, prompt):
                    return
        finally:
            self.running = False

    async def _run_turn(self, agent: AgentPort, prompt: str) -> bool:
        """One turn; True when it ended by itself. A prompt that began no turn waits again."""
        began = False
        end = TurnFinished(reason="failed", error="The turn ended without a result.")
        try:
            async with aclosing(cast("AsyncGenerator[Event, None]", agent.submit(prompt))) as events:
                async for event in events:
                    began = True
                    if isinstance(event, TurnFinished):
                        end = event
                    else:
                        self._show(event)
        except GptOssError as error:
            end = TurnFinished(reason="failed", error=error.message, hint=error.hint or "")
        except Exception as error:  # the conversation must survive a bug in a turn
            hint = "This is a bug in gptoss-tui; please report it."
            end = TurnFinished(reason="failed", error=f"{type(error).__name__}: {error}", hint=hint)
        if not began:
            self._queue.insert(0, prompt)
        self._show(end)
        return end.reason in ("done", "limit")
