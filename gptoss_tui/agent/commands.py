"""What a front may say to the agent, and the port through which it says it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from gptoss_tui.agent.events import DecisionKind, Event
from gptoss_tui.harmony.messages import Effort


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an `ApprovalRequest`. `digest` must be the request's; `message` goes to the model on a denial."""

    kind: DecisionKind
    digest: str
    message: str = ""


class AgentPort(Protocol):
    """The agent as a front sees it. Used from one event loop."""

    effort: Effort

    def submit(self, text: str) -> AsyncIterator[Event]:
        """Run one turn. The iterator ends after `TurnFinished`; closing it interrupts the turn.

        Raises EngineError only before `TurnStarted`; later failures are `TurnFinished(reason="failed")`.
        """
        ...

    def interrupt(self) -> None:
        """Stop generation within one step or kill the running tool; the turn ends as `interrupted`."""
        ...

    def decide(self, item_id: str, decision: Decision) -> None:
        """Answer an approval request. Unknown or answered ids and other digests are refused with UsageError."""
        ...

    def new_conversation(self) -> None:
        """Drop the history; the next submit starts a new session."""
        ...

    def close(self) -> None:
        """Interrupt the turn and close the session file. The engine stays."""
        ...
