"""The possible answers to a request, in words that fit the screen. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.base import plural

if TYPE_CHECKING:
    from gptoss_tui.agent.events import ApprovalRequest

NARROW: Final = 60
WIDE: Final = 100


@dataclass(frozen=True, slots=True)
class Offer:
    """An answer: the binding whose key gives it, and what it does. `key` overrides how that key is shown."""

    binding: str
    words: str
    key: str = ""


def offers_for(request: ApprovalRequest, grant: int, files: int, left_out: int, width: int) -> list[list[Offer]]:
    """The answers to a request; in a second row, the keys to look closer or to edit the call."""
    narrow = width < NARROW
    once = "once" if narrow else "allow once"
    if left_out:
        once = f"without {plural(left_out, 'file')}"
    answers = [Offer("approval.once", once)]
    if request.grants and not left_out:
        answers.append(Offer("approval.session", "for now" if width < WIDE else "this conversation"))
        answers.append(Offer("approval.always", "always" if narrow else "always here"))
    answers.append(Offer("approval.deny", "no" if narrow else "deny"))
    answers.append(Offer("approval.message", "no, why" if narrow else "deny, say why"))
    answers.append(Offer("approval.refuse", "stop"))
    more = []
    if request.source:
        more.append(Offer("approval.edit", "edit"))
    if len(request.grants) > 1 and not left_out:
        wider = "allow more" if grant == 0 else "allow less"
        more.append(Offer("approval.scope", wider))
    if files > 1:
        more.append(Offer("approval.next_file", "next file"))
    if files > 1 and request.selectable:
        more.append(Offer("approval.leave_out", "leave file out" if not narrow else "skip file"))
    if request.preview_type == "diff" and width >= 110:
        more.append(Offer("approval.layout", "other layout"))
    return [answers, more] if more else [answers]


def note_for(request: ApprovalRequest, grant: int, left_out: frozenset[str], session: str, always: str) -> str:
    """A note on what the lasting answers, named by their keys, would allow."""
    if left_out:
        return f"Left out: {to_terminal_line(', '.join(sorted(left_out)))}. The rest is shown again before it runs."
    if not request.grants:
        return ""
    return f"{session} for this conversation, {always} always: {to_terminal_line(request.grants[grant])}"


def reason_offers() -> list[Offer]:
    """The offers while a message to the model is typed."""
    return [Offer("approval.message", "deny and send this", "Enter"), Offer("approval.refuse", "back")]


def editing_offers() -> list[Offer]:
    """The offers while the call is edited."""
    return [
        Offer("approval.edited", "show what it does"),
        Offer("approval.editor", "your editor"),
        Offer("approval.refuse", "back"),
    ]
