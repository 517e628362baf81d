"""The approval dialog alone: the real panel, controller and approvals, with a line that takes the draft."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from textual import on
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input

from gptoss_tui.agent.approvals import Answer, Approvals, Question
from gptoss_tui.agent.events import ApprovalRequest, ApprovalResolved
from gptoss_tui.tools.base import Effect
from gptoss_tui.tui.controllers.approvals import ApprovalController
from gptoss_tui.tui.keyboard import register_alt_keys
from gptoss_tui.tui.theme import DARK, THEMES, Palette
from gptoss_tui.tui.widgets.approval import ApprovalPanel

ROOT = "/home/ada/project"


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Draft(Input):
    """Where typing goes that answers nothing."""


class ApprovalApp(App[None]):
    """Asks with `ask`; a person answers with keys. Implements as much of the agent's port as the controller needs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, theme: str = DARK.name) -> None:
        register_alt_keys()
        super().__init__()
        for known in THEMES:
            self.register_theme(known)
        self.theme = theme
        self.approvals = Approvals()
        self.refusals: list[str] = []
        self._clock = clock

    def compose(self) -> ComposeResult:
        yield Draft(id="draft")

    async def on_mount(self) -> None:
        self.draft = self.query_one(Draft)
        palette = Palette.from_variables(self.get_css_variables(), dark=self.current_theme.dark)
        self.panel = ApprovalPanel(palette, self._clock, ROOT, id="approval")
        self.controller = ApprovalController(lambda: self.panel, self.draft.focus)
        await self.controller.prepare(self.screen)
        self.decide = self.approvals.answer
        self.draft.cursor_blink = False
        self.draft.focus()

    def ask(self, item_id: str, effect: Effect, **more: object) -> asyncio.Task[Answer]:
        """Put a question, as a running turn does."""

        def announce(question: Question) -> None:
            self.controller.apply(request(item_id, question, **more))

        async def resolve() -> Answer:
            answer = await self.approvals.resolve(item_id, effect, announce)
            event = ApprovalResolved(item_id=item_id, decision=answer.decision.kind, by=answer.by)
            self.controller.apply(event)
            return answer

        return asyncio.create_task(resolve())

    @on(ApprovalPanel.Answered)
    def _answered(self, event: ApprovalPanel.Answered) -> None:
        if refused := self.controller.answer(self, event):  # type: ignore[arg-type]
            self.refusals.append(refused)

    @on(ApprovalPanel.StrayText)
    def _stray(self, event: ApprovalPanel.StrayText) -> None:
        self.draft.insert_text_at_cursor(event.text)

    def screen_text(self) -> str:
        """All rows of the screen."""
        rows = self.screen._compositor.render_strips(self.size)[: self.size.height]
        return "\n".join("".join(segment.text for segment in row).rstrip() for row in rows)


def request(item_id: str, question: Question, **more: object) -> ApprovalRequest:
    """The event of a question."""
    effect = question.effect
    fields = {
        "tool": "tool",
        "kind": effect.kind,
        "title": effect.title,
        "preview": effect.preview,
        "preview_type": effect.preview_type,
        "digest": effect.digest,
        "paths": effect.paths,
        "warnings": effect.warnings,
        "details": effect.details,
        "reasons": question.reasons,
        "grants": tuple(grant.label for grant in question.grants),
        **more,
    }
    return ApprovalRequest(item_id=item_id, **fields)  # type: ignore[arg-type]


async def seen(pilot: Pilot[None], app: ApprovalApp) -> None:
    """Wait until the question is on screen."""
    for _ in range(300):
        if app.panel.grace.is_shown:
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("the question was never shown")
