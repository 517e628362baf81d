"""Approval requests, shown in the order in which they arrive, and the answers to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gptoss_tui.agent.attached import OWN_TOOL
from gptoss_tui.errors import UsageError
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.widget import Widget

    from gptoss_tui.agent import commands
    from gptoss_tui.agent import events as ev
    from gptoss_tui.tui.theme import Palette
    from gptoss_tui.tui.widgets.approval import ApprovalPanel
else:
    ev, commands = late("gptoss_tui.agent.events"), late("gptoss_tui.agent.commands")


class ApprovalController:
    """Shows one request at a time. An answer is bound by its digest to the request that was on screen.

    The panel is created once there is a model, because nothing can be asked before.
    """

    def __init__(self, make_panel: Callable[[], ApprovalPanel], on_idle: Callable[[], None]) -> None:
        self._make_panel = make_panel
        self._on_idle = on_idle
        self._panel: ApprovalPanel | None = None
        self._waiting: deque[ev.ApprovalRequest] = deque()

    @property
    def is_open(self) -> bool:
        """Whether a request is shown."""
        return bool(self._waiting)

    async def prepare(self, screen: Screen[Any], before: Widget | None = None) -> None:
        """Mount the panel, still hidden, on the screen."""
        if self._panel is None:
            self._panel = self._make_panel()
            await screen.mount(self._panel, before=before)

    def use_palette(self, palette: Palette) -> None:
        """Apply another palette."""
        if self._panel is not None and self._panel.is_mounted:
            self._panel.use_palette(palette)

    def seen_again(self) -> None:
        """Restart the grace period of a question that was covered: it counts as shown from now on."""
        if self._panel is not None and self._waiting:
            self._panel.grace.shown()

    def apply(self, event: ev.Event) -> None:
        """Handle an event of a turn."""
        match event:
            case ev.ApprovalRequest():
                self._waiting.append(event)
                if len(self._waiting) == 1:
                    self._show_next()
            case ev.ApprovalResolved():
                self._forget(event.item_id)
            case ev.TurnFinished() if self._waiting:
                shown = self._waiting[0]
                self._waiting = deque(request for request in self._waiting if request.tool == OWN_TOOL)
                if not self._waiting or self._waiting[0] is not shown:
                    self._show_next()

    def answer(self, agent: commands.AgentPort, answered: ApprovalPanel.Answered) -> str:
        """Pass an answer to the agent. Returns the reason if the agent refuses it, else an empty string."""
        request = answered.request
        try:
            agent.decide(
                request.item_id,
                commands.Decision(
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
        if self._panel is None:
            return
        if self._waiting:
            self._panel.ask(self._waiting[0])
        else:
            self._panel.dismiss()
            self._on_idle()
