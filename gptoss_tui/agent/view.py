"""The read-only part of an agent. It can be used at any time, also while a turn runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.commands import ContextReport, SessionSummary, SkillSummary, ToolSummary, TurnSummary
from gptoss_tui.agent.context import HeldContext
from gptoss_tui.agent.opening import Opening
from gptoss_tui.agent.policy.modes import Mode
from gptoss_tui.agent.policy.rules import Rule
from gptoss_tui.agent.recorded import RecordedConversation
from gptoss_tui.agent.skills import Skill
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Effort
from gptoss_tui.tools.base import Citation
from gptoss_tui.tools.registry import ToolRegistry


class AgentView:
    """Implements the read-only half of `commands.AgentPort` on top of the agent's parts."""

    def __init__(
        self,
        approvals: Approvals,
        registry: ToolRegistry,
        opening: Opening,
        recorded: RecordedConversation,
        held: HeldContext,
        skills: Callable[[], tuple[Skill, ...]],
    ) -> None:
        self.approvals = approvals
        self._registry = registry
        self._opening = opening
        self._recorded = recorded
        self._held = held
        self._find_skills = skills

    @property
    def conversation(self) -> Conversation:
        """The conversation that the next turn continues. Must not be modified."""
        return self._recorded.history.conversation

    @property
    def context_used(self) -> int:
        """The number of tokens in the conversation, including the preamble."""
        return len(self._recorded.history.prompt_ids())

    @property
    def session_path(self) -> Path | None:
        """The path of this session's file, or None when it has none yet."""
        return self._recorded.path

    @property
    def session_id(self) -> str | None:
        """The id of this session, or None when it is not saved yet."""
        return self._recorded.session_id

    def turns(self) -> tuple[TurnSummary, ...]:
        """The turns of the conversation, oldest first."""
        return self._recorded.turns()

    def context(self) -> ContextReport:
        """What the tokens of the conversation are used for."""
        return self._held.report(self._recorded.history)

    def effort_cost(self, effort: Effort) -> int:
        """The tokens that the engine must prefill again for another effort. See `AgentPort.effort_cost`."""
        return self._held.cost(self._recorded.history, self._opening.preamble(effort))

    def sessions(self, workspace: Path | None = None) -> tuple[SessionSummary, ...]:
        """Saved sessions, newest first. See `AgentPort.sessions`."""
        return self._recorded.sessions(workspace)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that this workspace allows, strictest first."""
        return self.approvals.book.modes

    def rules(self) -> tuple[Rule, ...]:
        """The approval rules that apply in this workspace."""
        return self.approvals.book.rules

    def tools(self) -> tuple[ToolSummary, ...]:
        """The tools that the model is told about."""
        functions = (ToolSummary(one.name, one.description) for one in self._registry.declarations)
        groups = (ToolSummary(one.name, one.description or "") for one in self._registry.namespaces)
        return (*functions, *groups)

    def skills(self) -> tuple[SkillSummary, ...]:
        """The skills that are available now."""
        return tuple(SkillSummary(one.name, one.about, one.file, one.own, one.request) for one in self._find_skills())

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation refers to. See `AgentPort.page_text`."""
        return self._registry.page_text(citation)

    @property
    def sources(self) -> dict[str, str]:
        """Where tools get their results. See `AgentPort.sources`."""
        return self._registry.sources
