"""Permission for actions that the user starts in the app, outside of a turn, under the same policy as the model's."""

from __future__ import annotations

from collections.abc import Callable

from gptoss_tui.agent.approvals import Approvals, Question
from gptoss_tui.agent.events import ApprovalRequest, ApprovalResolved, Event
from gptoss_tui.tools.base import Effect


async def permit(
    approvals: Approvals, item_id: str, tool: str, effect: Effect, show: Callable[[Event], None]
) -> ApprovalResolved:
    """Decide about `effect`. `show` is called with the question, if there is one, and with the decision.

    A question waits until an open question of a running turn is answered, and vice versa.
    """

    def ask(question: Question) -> None:
        show(
            ApprovalRequest(
                item_id=item_id,
                tool=tool,
                kind=effect.kind,
                title=effect.title,
                preview=effect.preview,
                preview_type=effect.preview_type,
                digest=effect.digest,
                paths=effect.paths,
                warnings=effect.warnings,
                details=effect.details,
                reasons=question.reasons,
                grants=tuple(grant.label for grant in question.grants),
            )
        )

    answer = await approvals.resolve(item_id, effect, ask)
    resolved = ApprovalResolved(
        item_id=item_id,
        decision=answer.decision.kind,
        by=answer.by,
        message=answer.decision.message,
        digest=effect.digest,
        why=answer.why,
        rules=answer.rules,
    )
    show(resolved)
    return resolved
