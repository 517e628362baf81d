"""Turns an approval request into a question to the client, and its answer into a decision tied to the exact effect."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from acp.schema import AllowedOutcome, DeniedOutcome, PermissionOption, ToolCallUpdate

from gptoss_tui.acp.calls import Content, hunk_locations, kind_of, paragraph, preview_content
from gptoss_tui.acp.diffs import read_diff
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest
from gptoss_tui.sanitize import to_terminal_line

_ONCE: Final = "once"
_DENY: Final = "deny"


def options(request: ApprovalRequest) -> list[PermissionOption]:
    """The possible answers: allow once, allow each grant for the session or permanently, reject."""
    lasting = [
        PermissionOption(option_id=f"{kind}:{number}", name=words.format(to_terminal_line(label)), kind="allow_always")
        for number, label in enumerate(request.grants)
        for kind, words in (("session", "Allow {} for this session"), ("always", "Always allow {}"))
    ]
    return [
        PermissionOption(option_id=_ONCE, name="Allow once", kind="allow_once"),
        *lasting,
        PermissionOption(option_id=_DENY, name="Reject", kind="reject_once"),
    ]


def question(request: ApprovalRequest, call_id: str, root: Path) -> ToolCallUpdate:
    """The tool call to approve: everything it would do, with warnings and details."""
    diff = read_diff(request.preview) if request.preview_type == "diff" else None
    return ToolCallUpdate(
        tool_call_id=call_id,
        title=to_terminal_line(request.title),
        kind=kind_of(request.tool, diff),
        status="pending",
        content=[*preview_content(root, request.preview, request.preview_type), *facts(request)],
        locations=hunk_locations(root, diff.hunks) or None if diff else None,
    )


def facts(request: ApprovalRequest) -> list[Content]:
    """What the user should know besides the preview."""
    lines = [f"Warning: {text}" for text in (*request.warnings, *request.reasons)]
    if request.sources:
        lines.append(f"Warning: the model has read text of {', '.join(request.sources)}, which may be who asks")
    lines += [f"{label}: {text}" for label, text in request.details]
    return [paragraph("\n\n".join(lines))] if lines else []


def decision(request: ApprovalRequest, outcome: AllowedOutcome | DeniedOutcome) -> Decision:
    """The decision that `outcome` stands for. An answer that was not offered counts as a denial."""
    chosen = outcome.option_id if isinstance(outcome, AllowedOutcome) else _DENY
    kind, _, number = chosen.partition(":")
    grant = int(number) if number.isdecimal() and len(number) < 4 else -1
    if chosen == _ONCE:
        return Decision("once", request.digest)
    if kind == "session" and 0 <= grant < len(request.grants):
        return Decision("session", request.digest, grant=grant)
    if kind == "always" and 0 <= grant < len(request.grants):
        return Decision("always", request.digest, grant=grant)
    return Decision("deny", request.digest)
