"""What a front may say to the agent, and the port through which it says it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gptoss_tui.agent.events import ApprovalResolved, DecisionKind, Event
from gptoss_tui.harmony.messages import Effort
from gptoss_tui.settings import Mode
from gptoss_tui.tools.base import Citation, Effect

if TYPE_CHECKING:  # fronts import this before anything is on screen
    from gptoss_tui.agent.policy.book import WorkspaceFile
    from gptoss_tui.agent.policy.rules import Rule
    from gptoss_tui.undo import Choice, Conflict, UndoReport


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an `ApprovalRequest`. `digest` must be the request's; `message` goes to the model on a denial.

    `session` and `always` allow what `grants[grant]` of the request says, for the session or kept for the workspace.
    `edit` makes another call of it, which is planned and asked about anew: from `text`, or without the files
    `leave_out`.
    """

    kind: DecisionKind
    digest: str
    message: str = ""
    grant: int = 0
    text: str = ""
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnSummary:
    """A turn of the conversation, for lists. Turn `number` has the events of turn id `t<number>`.

    Numbers go up within a session and never come twice, also when turns were dropped. `started` is a local time in ISO
    form, empty in sessions of old versions. `files` are paths in the workspace that calls of the turn changed.
    """

    number: int
    text: str
    started: str
    files: tuple[str, ...] = ()

    @property
    def turn_id(self) -> str:
        """As its events name it."""
        return f"t{self.number}"


@dataclass(frozen=True, slots=True)
class ContextReport:
    """Where the tokens of the conversation went. The parts add up to `used`; each message counts with its header.

    `calls` are tool calls as the model wrote them; `reasoning` is that of the running or last turn, since older
    reasoning is dropped. `cached` of `used` are in the engine's memory as far as is known. `limit` None: no model was
    loaded yet.
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
    """A session on disk, for lists. `title` is its first message in one line; times are local, in ISO form."""

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
    """A session that the agent goes on with: its events without those of dropped turns, and what was wrong with it."""

    id: str
    events: tuple[Event, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolSummary:
    """A tool that the model has, for lists: the words about it are those that the model reads."""

    name: str
    about: str


@dataclass(frozen=True, slots=True)
class SkillSummary:
    """A skill, for lists. `request` is the beginning of a message that asks for it; `own` ones are the person's."""

    name: str
    about: str
    file: str
    own: bool
    request: str


@dataclass(frozen=True, slots=True)
class UndoOutcome:
    """What undo or redo came to, in the order in which it was done.

    `turns` are the turns that were dropped from the conversation, or came back. `text` is the message of the oldest
    one of them. `reports` say which files changed, one for each turn that had edits. Where the last one has open
    conflicts, its turn and those behind it are as they were: ask, and call again with a choice for each path.
    """

    turns: tuple[int, ...] = ()
    text: str = ""
    reports: tuple[UndoReport, ...] = ()

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The files that a person has to decide about."""
        return self.reports[-1].conflicts if self.reports else ()


class AgentPort(Protocol):
    """The agent as a front sees it. Used from one event loop.

    Setting `effort` while a turn runs counts from the model's next step on, else from the next message on; when it
    takes effect in a conversation that has begun, `EffortChanged` says so.
    """

    effort: Effort

    @property
    def session_id(self) -> str | None:
        """The id of this session, once it is saved."""
        ...

    def submit(self, text: str) -> AsyncIterator[Event]:
        """Run one turn. The iterator ends after `TurnFinished`; closing it interrupts the turn.

        Raises EngineError only before `TurnStarted`; later failures are `TurnFinished(reason="failed")`.
        """
        ...

    def steer(self, text: str) -> None:
        """Give the running turn a message, which it takes before the model's next step (`Steered`).

        What it never took, because the turn ended first, is in `TurnFinished.unsent`. Raises UsageError when no turn
        runs or the text is empty.
        """
        ...

    def interrupt(self) -> None:
        """Stop generation within one step or kill the running tool; the turn ends as `interrupted`."""
        ...

    def decide(self, item_id: str, decision: Decision) -> None:
        """Answer an approval request. Unknown or answered ids and other digests are refused with UsageError."""
        ...

    async def permit(self, item_id: str, tool: str, effect: Effect, show: Callable[[Event], None]) -> ApprovalResolved:
        """Let the policy decide about something that the person does through the app, as about a call of the model.

        `show` gets the `ApprovalRequest`, when somebody has to answer with `decide`, and the `ApprovalResolved`.
        """
        ...

    def effort_cost(self, effort: Effort) -> int:
        """Tokens that the engine would have to read again if the effort changed to `effort` now."""
        ...

    async def warm(self) -> None:
        """Let the engine read the beginning of a conversation ahead, before the first message, and return then.

        For the effort of now, and where that is quick for the others too. A message goes first at any time. Raises
        EngineError.
        """
        ...

    def turns(self) -> tuple[TurnSummary, ...]:
        """The turns of the conversation, oldest first, the running one included."""
        ...

    def rewind(self, turn: int) -> str:
        """Drop that turn and everything after it, and give its message back. Files stay as they are (see `undo`).

        Raises UsageError for a number that is not in `turns()`, or while a turn runs.
        """
        ...

    async def undo(self, turn: int | None = None, choices: Mapping[str, Choice] | None = None) -> UndoOutcome:
        """Drop that turn, by default the last one, and everything after it, and put files back to before it.

        What somebody else changed since is merged or asked about (`UndoOutcome.conflicts`), never overwritten;
        `choices` maps paths to answers. Raises UsageError as `rewind`, UndoError when the disk refuses.
        """
        ...

    async def redo(self, choices: Mapping[str, Choice] | None = None) -> UndoOutcome:
        """Bring back what the last undo or rewind dropped, with its files. No message may have come since.

        Raises UsageError when there is nothing to bring back or a turn runs, UndoError when the disk refuses.
        """
        ...

    def context(self) -> ContextReport:
        """Where the tokens of the conversation went."""
        ...

    def compact(self, instructions: str = "") -> AsyncIterator[Event]:
        """Let the model sum the conversation up and go on from its summary; the session file keeps everything.

        From `CompactionStarted` to `CompactionFinished`, with what a step tells in between. `interrupt` or closing the
        iterator leaves the conversation as it was. `instructions` say what matters. Raises UsageError while a turn
        runs or when there is nothing to sum up, EngineError when no model is loaded.
        """
        ...

    def sessions(self, workspace: Path | None = None) -> tuple[SessionSummary, ...]:
        """Saved sessions of a workspace, by default of all, the newest first. Raises SessionError."""
        ...

    def resume(self, session_id: str) -> ResumedSession:
        """Go on with a saved session, in its file. An id may be cut short; `last` is this workspace's newest.

        Raises UsageError while a turn runs or for an unknown id, SessionError when it cannot be read or is in use.
        """
        ...

    def fork(self, turn: int | None = None) -> str:
        """Go on in a new session that has all turns before `turn`, or all; the old file stays as it is.

        Gives the message of that turn, or nothing. Raises UsageError as `rewind`.
        """
        ...

    @property
    def mode(self) -> Mode:
        """How much may happen without asking. May be set at any time; `ModeChanged` says so in the session.

        Setting raises UsageError for a mode that is not in `modes`.
        """
        ...

    @mode.setter
    def mode(self, mode: Mode) -> None: ...

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that this workspace lets happen, the strictest first."""
        ...

    def tools(self) -> tuple[ToolSummary, ...]:
        """The tools that the model is told about."""
        ...

    def skills(self) -> tuple[SkillSummary, ...]:
        """The skills that there are now. A conversation is told which there are when it begins."""
        ...

    def rules(self) -> tuple[Rule, ...]:
        """The standing answers that hold here: of the session, the workspace and the user."""
        ...

    def revoke(self, rule_id: str) -> Rule:
        """Take a rule back. Raises UsageError for an unknown id or a rule that stands in a file of the user's."""
        ...

    def trust(self, trusted: bool = True) -> WorkspaceFile:
        """Let the workspace's own file `.gptoss-tui.toml` allow things, as it is now; or stop. Raises PolicyError."""
        ...

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation points at, `first_line` counted from 0; none when it was forgotten."""
        ...

    @property
    def sources(self) -> dict[str, str]:
        """Where tools get their results, by tool: `{"browser": "DuckDuckGo"}`."""
        ...

    def new_conversation(self) -> None:
        """Drop the history; the next submit starts a new session."""
        ...

    def close(self) -> None:
        """Interrupt the turn and close the session file. The engine stays."""
        ...
