"""The approval mode: the next one by key, before and after there is an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gptoss_tui.errors import UsageError

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.settings import Mode

CYCLE: tuple[Mode, ...] = ("ask", "auto-edit", "read-only", "full-auto")
"""In the order in which one key goes through them: the widest comes last."""


class ModeController:
    """Holds the mode that was chosen while there is no agent yet; afterwards the agent's is the truth."""

    def __init__(self, mode: Mode, agent: Callable[[], AgentPort | None], show: Callable[[], None]) -> None:
        self._chosen: Mode | None = None
        self._first: Mode = mode
        self._agent = agent
        self._show = show

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        agent = self._agent()
        return agent.mode if agent is not None else self._chosen or self._first

    def agent_came(self) -> str:
        """Hand a choice that was made before over to the agent. Gives the reason when it refuses."""
        refusal = self.use(self._chosen) if self._chosen is not None else ""
        self._chosen = None
        self._show()
        return refusal

    def use(self, mode: Mode) -> str:
        """Work in `mode` from now on. Gives the reason when the workspace does not let that happen."""
        agent = self._agent()
        if agent is None:
            self._chosen = mode
        else:
            try:
                agent.mode = mode
            except UsageError as error:
                return f"{error.message}. {error.hint or ''}".strip()
        self._show()
        return ""

    def cycle(self) -> str:
        """The next mode that may be chosen here."""
        agent = self._agent()
        allowed = agent.modes if agent is not None else CYCLE
        order = [mode for mode in CYCLE if mode in allowed]
        at = order.index(self.mode) if self.mode in order else -1
        return self.use(order[(at + 1) % len(order)])
