"""Approval of a host's calls, and of the agent's calls for it: the usual policy, with questions asked through the host.

If the host cannot ask, the call is refused with advice on what would help.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest
from gptoss_tui.agent.policy.decide import must_ask
from gptoss_tui.agent.policy.grants import Grant, grants_for
from gptoss_tui.errors import PolicyError, ToolError
from gptoss_tui.mcp_server.host import Asker, Host
from gptoss_tui.sanitize import to_terminal_line, to_terminal_source
from gptoss_tui.tools.base import Effect

ONCE: Final = "allow once"
REJECT: Final = "reject"

NOBODY: Final = (
    "Nobody can be asked through this MCP host, so this was refused. "
    "The server allows more from the start with `gptoss-tui mcp serve --approve edits`, `sandboxed` or `all`."
)


async def permit(approvals: Approvals, effect: Effect | None, host: Host) -> None:
    """Return if the call may run. Raises ToolError that says why it may not, or AnswerNeeded."""
    verdict = approvals.verdict(effect)
    if effect is None or verdict.outcome == "allow":
        return
    if verdict.outcome == "deny":
        raise ToolError(verdict.why)
    grants = () if verdict.reasons else grants_for(effect)
    message = _effect_question(effect, verdict.reasons)
    choices = _choices([grant.label for grant in grants])
    if host.can_ask:
        chosen = await host.ask(message, choices)
    elif host.can_ask_by_retry:
        chosen = host.ask_by_retry(message, choices, effect.digest)
    else:
        raise ToolError(NOBODY)
    if approvals.verdict(effect).outcome == "deny" or chosen in ("", REJECT):
        raise ToolError("The user did not allow this call.")
    if chosen != ONCE:
        _remember(approvals, grants[choices.index(chosen) - 1], effect)


async def answer(request: ApprovalRequest, host: Asker) -> Decision:
    """Ask for the user's decision about a call of the agent; a denial if nobody can be asked."""
    if not host.can_ask:
        return Decision("deny", request.digest, NOBODY)
    choices = _choices(request.grants)
    chosen = await host.ask(_request_question(request), choices)
    if chosen == ONCE:
        return Decision("once", request.digest)
    if chosen in ("", REJECT):
        return Decision("deny", request.digest)
    return Decision("session", request.digest, grant=choices.index(chosen) - 1)


def _choices(labels: Sequence[str]) -> list[str]:
    return [ONCE, *(f"allow {to_terminal_line(label)} for this session" for label in labels), REJECT]


def _remember(approvals: Approvals, grant: Grant, effect: Effect) -> None:
    try:
        approvals.book.grant(grant, "session", effect.reach)
    except PolicyError as error:
        raise ToolError(error.message) from error


def _effect_question(effect: Effect, reasons: Sequence[str]) -> str:
    return _question(effect.title, effect.preview, (*effect.warnings, *(reasons or must_ask(effect))), effect.details)


def _request_question(request: ApprovalRequest) -> str:
    warnings = [*request.warnings, *request.reasons]
    if request.sources:
        warnings.append(f"the model has read text of {', '.join(request.sources)}, which may be who asks")
    return _question(request.title, request.preview, warnings, request.details)


def _question(title: str, preview: str, warnings: Sequence[str], details: Sequence[tuple[str, str]]) -> str:
    """The text of a question: exactly what would be done, and what else the user should know."""
    lines = [f"{title}?", *(f"Warning: {text}" for text in warnings), *(f"{name}: {text}" for name, text in details)]
    return "\n".join((*map(to_terminal_line, lines), "", to_terminal_source(preview)))
