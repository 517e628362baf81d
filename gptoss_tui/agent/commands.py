"""The interface between a front end and the agent: `AgentPort`, and the types that it takes and returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gptoss_tui.agent.events import ApprovalResolved, DecisionKind, Event
from gptoss_tui.harmony.messages import Effort
from gptoss_tui.settings import Mode
from gptoss_tui.tools.base import Citation, Effect

if TYPE_CHECKING:  # front ends import this module before they draw anything, so it has to load quickly
    from gptoss_tui.agent.policy.book import WorkspaceFile
    from gptoss_tui.agent.policy.rules import Rule
    from gptoss_tui.undo import Choice, Conflict, UndoReport


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an `ApprovalRequest`.

    `digest` must be that of the request; `message` is passed to the model on a denial. The kinds `session` and `always`
    allow what `grants[grant]` of the request describes, for the session or permanently for the workspace. `edit`
    changes the call, which is then planned and asked about again: either its source becomes `text`, or the files
    `leave_out` are left out.
    """

    kind: DecisionKind
    digest: str
    message: str = ""
    grant: int = 0
    text: str = ""
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnSummary:
    """A turn of the conversation, for lists. Turn `number` has the events with the turn id `t<number>`.

    Numbers increase within a session and are never reused, not even after turns were dropped. `started` is the local
    time in ISO 8601, empty in sessions of old versions. `files` are paths in the workspace that the turn's calls
    changed.
    """

    number: int
    text: str
    started: str
    files: tuple[str, ...] = ()

    @property
    def turn_id(self) -> str:
        """The turn id in the events of this turn."""
        return f"t{self.number}"


@dataclass(frozen=True, slots=True)
class ContextReport:
    """What the tokens of the conversation are used for. The parts add up to `used`; messages include their headers.

    `calls` are tool calls as the model wrote them. `reasoning` is that of the running or last turn, since older
    reasoning is dropped. `cached` of the `used` tokens are in the engine's cache as far as is known. `limit` is None
    when no model was loaded yet.
    """

    system: int
    developer: int
    user: int
    reasoning: int
    calls: int
    tool_results: int
    answers: int
    used: int
    cached: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session on disk, for lists. `title` is its first message in one line; times are local, in ISO 8601."""

    id: str
    title: str
    created: str
    updated: str
    turns: int
    workspace: str
    model: str
    path: Path


@dataclass(frozen=True, slots=True)
class ResumedSession:
    """A session that the agent continues: its events without those of dropped turns, and notices about problems."""

    id: str
    events: tuple[Event, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolSummary:
    """A tool that the model has, for lists. `about` is the description that the model reads."""

    name: str
    about: str


@dataclass(frozen=True, slots=True)
class SkillSummary:
    """A skill, for lists. `request` is the beginning of a message that asks for it; `own` skills are the user's."""

    name: str
    about: str
    file: str
    own: bool
    request: str


@dataclass(frozen=True, slots=True)
class UndoOutcome:
    """The result of undo or redo, in the order in which it was done.

    `turns` are the turns that were dropped from the conversation or restored; `text` is the message of the oldest one.
    `reports` say which files changed, one for each turn that had edits. If the last report has open conflicts, its turn
    and the remaining turns are unchanged: ask the user, and call again with a choice for each path.
    """

    turns: tuple[int, ...] = ()
    text: str = ""
    reports: tuple[UndoReport, ...] = ()

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflicting files, about which the user has to decide."""
        return self.reports[-1].conflicts if self.reports else ()


class AgentPort(Protocol):
    """The agent as a front end sees it. Must be used from a single event loop.

    A new `effort` applies from the model's next step while a turn runs, and otherwise from the next message. When it
    takes effect in a conversation that has begun, `EffortChanged` is emitted.
    """

    effort: Effort

    @property
    def session_id(self) -> str | None:
        """The id of this session, or None when it is not saved yet."""
        ...

    def submit(self, text: str) -> AsyncIterator[Event]:
        """Run one turn. The iterator ends after `TurnFinished`; closing it interrupts the turn.

        Raises EngineError only before `TurnStarted`; later failures are `TurnFinished(reason="failed")`.
        """
        ...

    def steer(self, text: str) -> None:
        """Send a message to the running turn, which takes it before the model's next step (`Steered`).

        If the turn ends first, the message is in `TurnFinished.unsent`. Raises UsageError when no turn runs or the text
        is empty.
        """
        ...

    def interrupt(self) -> None:
        """Stop generation within one step or kill the running tool; the turn ends as `interrupted`."""
        ...

    def decide(self, item_id: str, decision: Decision) -> None:
        """Answer an approval request. Raises UsageError for an unknown or answered id, or a wrong digest."""
        ...

    async def permit(self, item_id: str, tool: str, effect: Effect, show: Callable[[Event], None]) -> ApprovalResolved:
        """Let the policy decide about an action that the user started, in the same way as about calls of the model.

        `show` is called with the `ApprovalRequest`, if one has to be answered with `decide`, and with the
        `ApprovalResolved`, which is also returned.
        """
        ...

    def effort_cost(self, effort: Effort) -> int:
        """The number of tokens that the engine must prefill again if the effort changes to `effort` now."""
        ...

    async def warm(self) -> None:
        """Let the engine prefill the beginning of a conversation before the first message.

        This is done for the current effort and, if that is quick, for the other efforts too. It stops when a message is
        submitted. Returns when done. Raises EngineError.
        """
        ...

    def turns(self) -> tuple[TurnSummary, ...]:
        """The turns of the conversation, oldest first, the running one included."""
        ...

    def rewind(self, turn: int) -> str:
        """Drop that turn and everything after it, and return its message. Files are not changed (see `undo`).

        Raises UsageError for a number that is not in `turns()`, or while a turn runs.
        """
        ...

    async def undo(self, turn: int | None = None, choices: Mapping[str, Choice] | None = None) -> UndoOutcome:
        """Drop that turn, by default the last one, and everything after it, and undo their file changes.

        Later changes by others are merged or reported as `UndoOutcome.conflicts`, but never overwritten; `choices` maps
        paths to the user's choices. Raises UsageError like `rewind`, and UndoError when files cannot be changed.
        """
        ...

    async def redo(self, choices: Mapping[str, Choice] | None = None) -> UndoOutcome:
        """Restore what the last undo or rewind dropped, and its file changes. Only works until the next message.

        Raises UsageError when there is nothing to restore or a turn runs, and UndoError when files cannot be changed.
        """
        ...

    def context(self) -> ContextReport:
        """What the tokens of the conversation are used for."""
        ...

    def compact(self, instructions: str = "") -> AsyncIterator[Event]:
        """Let the model summarise the conversation and continue from the summary; the session file keeps everything.

        Yields events from `CompactionStarted` to `CompactionFinished`, with progress and deltas in between. `interrupt`
        or closing the iterator leaves the conversation unchanged. `instructions` tell the model what matters in the
        summary. Raises UsageError while a turn runs or when the conversation is empty, and EngineError when no model is
        loaded.
        """
        ...

    def sessions(self, workspace: Path | None = None) -> tuple[SessionSummary, ...]:
        """Saved sessions of a workspace, by default of all workspaces, newest first. Raises SessionError."""
        ...

    def resume(self, session_id: str) -> ResumedSession:
        """Continue a saved session in its file. `session_id` may be the beginning of an id, or `last` for the newest.

        `last` only considers this workspace's sessions. Raises UsageError while a turn runs or for an unknown id, and
        SessionError when the session cannot be read or is in use.
        """
        ...

    def fork(self, turn: int | None = None) -> str:
        """Continue in a new session with the turns before `turn`, or with all; the old file is not changed.

        Returns the message of that turn, or an empty string. Raises UsageError like `rewind`.
        """
        ...

    @property
    def mode(self) -> Mode:
        """How much the model may do without asking. May be set at any time, which emits `ModeChanged`.

        Setting it raises UsageError for a mode that is not in `modes`.
        """
        ...

    @mode.setter
    def mode(self, mode: Mode) -> None: ...

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that this workspace allows, strictest first."""
        ...

    def tools(self) -> tuple[ToolSummary, ...]:
        """The tools that the model is told about."""
        ...

    def skills(self) -> tuple[SkillSummary, ...]:
        """The skills that are available now. A conversation is only told about them when it begins."""
        ...

    def rules(self) -> tuple[Rule, ...]:
        """The approval rules that apply here: those of the session, the workspace and the user."""
        ...

    def revoke(self, rule_id: str) -> Rule:
        """Revoke a rule and return it.

        Raises UsageError for an unknown id, or when the rule is in a file that must be edited by hand.
        """
        ...

    def trust(self, trusted: bool = True) -> WorkspaceFile:
        """Trust or distrust the workspace's own file `.gptoss-tui.toml` in its current state. Raises PolicyError."""
        ...

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation refers to (`first_line` counts from 0). Empty if no longer known."""
        ...

    @property
    def sources(self) -> dict[str, str]:
        """Where tools get their results, by tool: `{"browser": "DuckDuckGo"}`."""
        ...

    def new_conversation(self) -> None:
        """Drop the history; the next submit starts a new session."""
        ...

    def close(self) -> None:
        """Interrupt the turn and close the session file. The engine is not closed."""
        ...
