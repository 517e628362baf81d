"""The beginning of conversations: builds the system and developer messages from the tools and the user's text."""

from __future__ import annotations

from collections.abc import Callable

from gptoss_tui.agent.constraints import Constraints
from gptoss_tui.agent.prompt import build_preamble
from gptoss_tui.harmony.messages import Effort, Preamble
from gptoss_tui.tools.registry import ToolRegistry


class Opening:
    """The beginning of the current conversation.

    `date` (YYYY-MM-DD) stays the same for the whole conversation. A callable `developer_message` is called again for
    each conversation.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        constraints: Constraints,
        developer_message: str | Callable[[], str | None] | None,
        today: str | None,
    ) -> None:
        self._registry = registry
        self._constraints = constraints
        self._ask_developer = developer_message
        self._today = today
        self.renew()

    def renew(self) -> None:
        """Start a new conversation: reset the date, and ask for the developer message again."""
        self.date = self._today
        self._told = self._ask_developer() if callable(self._ask_developer) else self._ask_developer

    def preamble(self, effort: Effort) -> Preamble:
        """The system and developer messages for `effort` and the tools that are currently available."""
        return build_preamble(
            effort=effort,
            current_date=self.date,
            functions=self._registry.declarations,
            builtin_tools=self._registry.namespaces,
            developer_message=self._told,
            response_format=self._constraints.format,
        )
