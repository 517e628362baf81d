"""The reasoning effort: lower, higher or next. It reaches the agent at once, and its cost is known in advance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gptoss_tui.harmony.effort import EFFORTS, Effort

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort


class EffortController:
    """Holds the effort, even before there is an agent. A change means that `cost` tokens must be prefilled again."""

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
        """Set the effort from now on."""
        agent = self._agent()
        self.effort = effort
        self.cost = agent.effort_cost(effort) if agent is not None else 0
        self.apply()

    def paid(self) -> None:
        """Reset `cost`, because the tokens have been prefilled by now."""
        self.cost = 0
        self._show()

    def change(self, step: int) -> None:
        """Lower or raise the effort, within its range."""
        level = min(len(EFFORTS) - 1, max(0, EFFORTS.index(self.effort) + step))
        self.use(EFFORTS[level])

    def cycle(self) -> None:
        """Switch to the next effort; after the highest comes the lowest."""
        self.use(EFFORTS[(EFFORTS.index(self.effort) + 1) % len(EFFORTS)])
