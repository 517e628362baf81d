"""What the screen shows around the conversation: bars, hints, the queue, the composer's border, the draft's text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.screen import Screen

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.controllers.hints import Situation, hints_for
from gptoss_tui.tui.late import late
from gptoss_tui.tui.widgets.choices import ChoiceList
from gptoss_tui.tui.widgets.composer import Composer
from gptoss_tui.tui.widgets.gauge import composer_edge
from gptoss_tui.tui.widgets.hints import HintLine
from gptoss_tui.tui.widgets.loading import LoadingBar
from gptoss_tui.tui.widgets.queue import QueueView, Waiting
from gptoss_tui.tui.widgets.status import Activity, StatusLine

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.engine.types import EngineInfo, LoadProgress
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.controllers.approvals import ApprovalController
    from gptoss_tui.tui.controllers.effort import EffortController
    from gptoss_tui.tui.controllers.frames import FrameClock
    from gptoss_tui.tui.controllers.modes import ModeController
    from gptoss_tui.tui.controllers.status import StatusController
    from gptoss_tui.tui.controllers.transcript import TranscriptController
    from gptoss_tui.tui.keymap import Keymap
    from gptoss_tui.tui.theme import Palette
else:
    ev = late("gptoss_tui.agent.events")

_EDGE_MARGIN = 6
"""Cells of the composer's border that belong to its corners."""


class ChatView:
    """Implements `ConversationView`. `situation` returns the state that decides which hints are shown."""

    def __init__(
        self,
        screen: Screen[None],
        talk: TranscriptController,
        status: StatusController,
        frames: FrameClock,
        approvals: ApprovalController,
        keymap: Keymap,
        palette: Palette,
        situation: Callable[[], Situation],
    ) -> None:
        self._screen = screen
        self._talk = talk
        self._status = status
        self._frames = frames
        self._approvals = approvals
        self._keymap = keymap
        self._palette = palette
        self._situation = situation
        # Kept, because workers that end with the screen may still report something when its widgets are gone.
        self._composer = screen.query_one(Composer)
        self._bar = screen.query_one(LoadingBar)
        self._line = screen.query_one(StatusLine)
        self._queue = screen.query_one(QueueView)
        self._hints = screen.query_one("#hints", HintLine)
        self._bindings: dict[str, Binding] = {}
        self._place = ""
        self._own: Activity = "ready"
        self.take_back: Callable[[str], str] = str
        """Returns the typed text of a message that was not sent."""

    def connect(
        self,
        effort: EffortController,
        modes: ModeController,
        bindings: Sequence[Binding],
        loaded: Callable[[], object],
    ) -> None:
        """Set the sources for the composer's border and for hints, and what to call when a model is loaded."""
        self._effort, self._modes = effort, modes
        self._loaded = loaded
        self._bindings = {binding.id: binding for binding in bindings if binding.id}
        self.show_edge()
        self.show_hints()

    def use_palette(self, palette: Palette) -> None:
        """Apply another palette."""
        self._palette = palette
        choices = self._screen.query_one(ChoiceList)
        for widget in (self._line, self._bar, self._queue, self._hints, choices):
            widget.palette = palette
            widget.refresh(layout=False)
        self._approvals.use_palette(palette)
        self.show_edge()

    # Called by the conversation

    def loading_began(self) -> None:
        """The model has started to load."""
        self._status.set_activity("loading")
        self._frames.start()

    async def loading_ended(self, info: EngineInfo | None) -> None:
        """The model is loaded, or (None) could not be."""
        await self._approvals.prepare(self._screen, self._composer)
        self._bar.hide()
        self._frames.stop()
        if info is not None:
            self._status.set_model(info)
            self._effort.apply()
            if refusal := self._modes.agent_came():
                self.say("warning", refusal)
            self._loaded()
        self._status.set_activity("failed" if info is None else "ready")

    def turns_began(self) -> None:
        """Something is running from now on."""
        self._effort.apply()
        self._composer.busy = True
        self._frames.start()

    def turns_ended(self) -> None:
        """Nothing is running any more."""
        self._composer.busy = False
        self._frames.stop()
        if self._own == "ready":
            self.show_hints()
        else:
            self._show_own()

    def model_lost(self) -> None:
        """The model is gone; the next message loads it again."""
        self._status.set_activity("failed")
        self.say("info", "The model is no longer loaded. Send a message to load it again.")

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        self._talk.notice(kind, message, hint)

    def show_waiting(self, waiting: Waiting) -> None:
        """Show messages that were typed but not read yet."""
        self._queue.show(waiting)
        self._composer.has_queue = bool(waiting.queued)

    def return_to_draft(self, prompts: Sequence[str]) -> None:
        """Put prompts that will not run back into the composer."""
        if prompts:
            draft = [self._composer.text] if self._composer.text else []
            self._composer.set_draft("\n\n".join([*map(self.take_back, prompts), *draft]))

    @property
    def own_runs(self) -> bool:
        """Whether a command that the user typed is running."""
        return self._own == "command"

    def apply_own(self, event: ev.Event) -> None:
        """Handle an event of a command that the user typed, which belongs to no turn."""
        match event:
            case ev.ApprovalRequest():
                self._own = "approval"
            case ev.ToolStarted():
                self._own = "command"
            case ev.ToolFinished():
                self._own = "ready"
            case ev.ApprovalResolved():
                pass
            case _:
                return
        self._approvals.apply(event)
        self._show_own()

    def _show_own(self) -> None:
        """Show what the user's own command does, unless the model does something at the moment."""
        if not self._situation().running:
            self._status.set_activity(self._own)
            if self.own_runs:
                self._frames.start()
            else:
                self._frames.stop()
        self.show_hints()

    def apply(self, event: ev.Event) -> None:
        """Handle an event of a turn."""
        match event:
            case ev.TurnStarted() | ev.ApprovalRequest() | ev.ApprovalResolved():
                self.show_hints()
            case ev.StepFinished():
                self._effort.paid()
            case ev.ModeChanged():
                self.show_edge()

    # Drawing

    def show_progress(self, progress: LoadProgress) -> None:
        """Show the progress of loading."""
        if not progress.done:
            self._bar.show(to_terminal_line(progress.stage), progress.fraction)

    def show_fetching(self, progress: LoadProgress) -> None:
        """Show the progress of a download; the previous model stays usable."""
        if progress.done:
            self._bar.hide()
        else:
            self._bar.show(to_terminal_line(progress.stage), progress.fraction)

    def tick(self) -> None:
        """Advance the animations."""
        self._talk.tick()
        self._line.tick()

    def show_hints(self) -> None:
        """Update the keys named in the hints."""
        self._hints.show(hints_for(self._situation(), self._label))

    def show_edge(self) -> None:
        """Show the place, the approval mode and the effort in the composer's lower border."""
        room = (self._screen.size.width or self._screen.app.size.width) - _EDGE_MARGIN
        edge = composer_edge(self._modes.mode, self._effort.effort, self._effort.cost, self._palette, room, self._place)
        self._composer.border_subtitle = edge

    def show_place(self, place: str) -> None:
        """Show in the border where the app works."""
        if place != self._place:
            self._place = place
            self.show_edge()

    def _label(self, name: str) -> str:
        binding = self._bindings.get(name)
        return self._keymap.label(binding) if binding is not None else ""
