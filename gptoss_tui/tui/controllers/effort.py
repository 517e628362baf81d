"""The reasoning effort: lower, higher, next; it reaches the agent at once, and what it costs is known before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gptoss_tui.harmony.effort import EFFORTS, Effort

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort


class EffortController:
    """Holds the effort also while there is no agent yet. `cost` tokens have to be read again because of a change."""

    def __init__(self, effort: Effort, agent: Callable[[], AgentPort | None], show: Callable[[], None]) -> None:
        self.effort: Effort = effort
        self.cost = 0
        self._agent = agent
        self._show = show

    def apply(self) -> None:
        """Hand the effort to the agent, if there is one, and show it."""
        agent = self._agent()
        if agent is not None:
            agent.effort = self.effort
        self._show()

    def use(self, effort: Effort) -> None:
        """Think at `effort` from now on."""
        agent = self._agent()
        self.effort = effort
        self.cost = agent.effort_cost(effort) if agent is not None else 0
        self.apply()

    def paid(self) -> None:
        """What a change cost was read by now."""
        self.cost = 0
        self._show()

    def change(self, step: int) -> None:
        """Lower or raise the effort, between its ends."""
        level = min(len(EFFORTS) - 1, max(0, EFFORTS.index(self.effort) + step))
        self.use(EFFORTS[level])

    def cycle(self) -> None:
        """The next effort; after the highest, the lowest."""
        self.use(EFFORTS[(EFFORTS.index(self.effort) + 1) % len(EFFORTS)])
