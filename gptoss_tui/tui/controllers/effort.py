"""The reasoning effort: lower, higher, next; it reaches the agent at once and the status line with it."""

from __future__ import annotations

from collections.abc import Callable

from gptoss_tui.agent.commands import AgentPort
from gptoss_tui.harmony.messages import EFFORTS, Effort


class EffortController:
    """Holds the effort also while there is no agent yet."""

    def __init__(self, effort: Effort, agent: Callable[[], AgentPort | None], show: Callable[[Effort], None]) -> None:
        self.effort: Effort = effort
        self._agent = agent
        self._show = show

    def apply(self) -> None:
        """Hand the effort to the agent, if there is one, and show it."""
        agent = self._agent()
        if agent is not None:
            agent.effort = self.effort
        self._show(self.effort)

    def use(self, effort: Effort) -> None:
        """Think at `effort` from now on."""
        self.effort = effort
        self.apply()

    def change(self, step: int) -> None:
        """Lower or raise the effort, between its ends."""
        level = min(len(EFFORTS) - 1, max(0, EFFORTS.index(self.effort) + step))
        self.use(EFFORTS[level])

    def cycle(self) -> None:
        """The next effort; after the highest, the lowest."""
        self.use(EFFORTS[(EFFORTS.index(self.effort) + 1) % len(EFFORTS)])
