"""The approval mode, and switching it with a key, before and after there is an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gptoss_tui.errors import UsageError

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import AgentPort
    from gptoss_tui.settings import Mode

CYCLE: tuple[Mode, ...] = ("ask", "auto-edit", "read-only", "full-auto")
"""The order in which a key cycles through the modes: the most permissive one comes last."""


class ModeController:
    """Holds the chosen mode until there is an agent; from then on the agent's mode counts."""

    def __init__(self, mode: Mode, agent: Callable[[], AgentPort | None], show: Callable[[], None]) -> None:
        self._chosen: Mode | None = None
        self._first: Mode = mode
        self._agent = agent
        self._show = show

    @property
    def mode(self) -> Mode:
        """The current mode."""
        agent = self._agent()
        return agent.mode if agent is not None else self._chosen or self._first

    def agent_came(self) -> str:
        """Pass a mode chosen earlier to the new agent. Returns the reason if it refuses, else an empty string."""
        refusal = self.use(self._chosen) if self._chosen is not None else ""
        self._chosen = None
        self._show()
        return refusal

    def use(self, mode: Mode) -> str:
        """Switch the mode. Returns the reason if the workspace does not allow it, else an empty string."""
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
        """Switch to the next mode that is allowed here. Returns what `use` returns."""
        agent = self._agent()
        allowed = agent.modes if agent is not None else CYCLE
        order = [mode for mode in CYCLE if mode in allowed]
        at = order.index(self.mode) if self.mode in order else -1
        return self.use(order[(at + 1) % len(order)])
