"""Requests for approval, first come first shown, and the answers to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gptoss_tui.agent.commands import AgentPort, Decision
from gptoss_tui.agent.events import ApprovalRequest, ApprovalResolved, Event, TurnFinished
from gptoss_tui.errors import UsageError
from gptoss_tui.tui.widgets.approval import ApprovalPanel


class ApprovalController:
    """Shows one request at a time. An answer goes to the request that was on screen, bound by its digest."""

    def __init__(self, panel: ApprovalPanel, on_idle: Callable[[], None]) -> None:
        self._panel = panel
        self._on_idle = on_idle
        self._waiting: deque[ApprovalRequest] = deque()

    @property
    def is_open(self) -> bool:
        """Whether a request is shown."""
        return bool(self._waiting)

    def apply(self, event: Event) -> None:
        """Follow a turn."""
        match event:
            case ApprovalRequest():
                self._waiting.append(event)
                if len(self._waiting) == 1:
                    self._panel.ask(event)
            case ApprovalResolved():
                self._forget(event.item_id)
            case TurnFinished() if self._waiting:
                self._waiting.clear()
                self._show_next()

    def answer(self, agent: AgentPort, answered: ApprovalPanel.Answered) -> str:
        """Pass an answer on. Gives the reason when the agent refuses it."""
        request = answered.request
        try:
            agent.decide(
                request.item_id,
                Decision(
                    answered.kind,
                    request.digest,
                    answered.message,
                    grant=answered.grant,
                    text=answered.text,
                    leave_out=answered.leave_out,
                ),
            )
        except UsageError as error:
            return error.message
        finally:
            self._forget(request.item_id)
        return ""

    def _forget(self, item_id: str) -> None:
        shown = self._waiting[0].item_id if self._waiting else None
        self._waiting = deque(request for request in self._waiting if request.item_id != item_id)
        if shown == item_id:
            self._show_next()

    def _show_next(self) -> None:
        if self._waiting:
            self._panel.ask(self._waiting[0])
        else:
            self._panel.dismiss()
            self._on_idle()
