"""A request for approval as numbered choices, and the line that answers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, DecisionKind


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
            Choice(f"allow {words} for this session", "session", number),
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
    """The question as lines: what would happen in full, what speaks against it, the numbered answers."""
    yield f"Approval needed: {request.title}"
    for label, text in request.details:
        yield f"  {label}: {text}"
    for warning in (*request.warnings, *request.reasons):
        yield f"  Warning: {warning}"
    if request.sources:
        yield f"  Warning: the model has read text of {', '.join(request.sources)}, which may be who asks"
    yield "What would be done:"
    for line in request.preview.splitlines():
        yield f"  {line}"
    yield "End of what would be done. Answer with a number:"
    for number, choice in enumerate(choices(request), start=1):
        yield f"  {number}. {choice.words}"


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
