"""A request for approval as numbered choices, and the line that answers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, DecisionKind
from gptoss_tui.sanitize import to_terminal_line, to_terminal_source


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: its words, and what it decides. `ends_turn` also stops the turn, `asks_why` wants a reason first."""

    words: str
    kind: DecisionKind
    grant: int = 0
    ends_turn: bool = False
    asks_why: bool = False


def choices(request: ApprovalRequest) -> tuple[Choice, ...]:
    """The answers to `request`, in the order of their numbers from 1 on."""
    granted = [
        choice
        for number, words in enumerate(request.grants)
        for choice in (
            Choice(f"allow {words} for this conversation", "session", number),
            Choice(f"always allow {words} in this workspace", "always", number),
        )
    ]
    return (
        Choice("allow once", "once"),
        *granted,
        Choice("deny", "deny"),
        Choice("deny, and tell the model why", "deny", asks_why=True),
        Choice("deny and stop the turn", "deny", ends_turn=True),
    )


def question(request: ApprovalRequest) -> Iterator[str]:
    """The question as lines: what would happen in full, what speaks against it, the numbered answers.

    What the model wrote of it, such as a command or the name of a folder, can add no line that looks like an answer.
    """
    yield to_terminal_line(f"Approval needed: {request.title}")
    for label, text in request.details:
        yield to_terminal_line(f"  {label}: {text}")
    for warning in (*request.warnings, *request.reasons):
        yield to_terminal_line(f"  Warning: {warning}")
    if request.sources:
        sources = to_terminal_line(", ".join(request.sources))
        yield f"  Warning: the model has read text of {sources}, which may be who asks"
    yield "What would be done:"
    for line in to_terminal_source(request.preview).removesuffix("\n").split("\n"):
        yield f"  {line}"
    yield "End of what would be done. Answer with a number:"
    for number, choice in enumerate(choices(request), start=1):
        yield to_terminal_line(f"  {number}. {choice.words}")


def read_answer(request: ApprovalRequest, line: str) -> Choice | None:
    """The choice that a line names by its number, or by `y` or `n`; None when it names none."""
    offered = choices(request)
    word = line.strip().lower()
    if word in ("y", "yes"):
        return offered[0]
    if word in ("n", "no"):
        return next(choice for choice in offered if choice.kind == "deny")
    number = int(word) if word.isdecimal() and len(word) < 4 else 0
    return offered[number - 1] if 0 < number <= len(offered) else None


def decision(request: ApprovalRequest, choice: Choice, why: str = "") -> Decision:
    """What `choice` decides about the bytes that were shown."""
    return Decision(choice.kind, request.digest, message=why, grant=choice.grant)
