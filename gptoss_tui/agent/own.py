"""Permission for actions that the user starts in the app, outside of a turn, under the same policy as the model's."""

from __future__ import annotations

from collections.abc import Callable

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.events import ApprovalResolved, Event
from gptoss_tui.tools.base import Effect


async def permit(
    approvals: Approvals, item_id: str, tool: str, effect: Effect, show: Callable[[Event], None]
) -> ApprovalResolved:
    """Decide about `effect`. `show` is called with the question, if there is one, and with the decision.

    A question waits until an open question of a running turn is answered, and vice versa.
    """

    answer = await approvals.resolve(item_id, effect, lambda question: show(question.as_event(item_id, tool)))
    resolved = answer.as_event(item_id, effect)
    show(resolved)
    return resolved
