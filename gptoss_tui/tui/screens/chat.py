"""The main screen: conversation, reasoning, composer, status. It wires widgets to controllers and holds no logic."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from gptoss_tui.agent import events as ev
from gptoss_tui.engine.types import EngineInfo, LoadProgress
from gptoss_tui.harmony.messages import Effort
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.notice import NoticeKind
from gptoss_tui.tui.blocks.reasoning import ReasoningBlock
from gptoss_tui.tui.blocks.tool import ToolBlock
from gptoss_tui.tui.blocks.welcome import WelcomeBlock
from gptoss_tui.tui.controllers.approvals import ApprovalController
from gptoss_tui.tui.controllers.attention import AttentionController
from gptoss_tui.tui.controllers.conversation import ConversationController
from gptoss_tui.tui.controllers.effort import EffortController
from gptoss_tui.tui.controllers.frames import MAX_RATE, FrameClock
from gptoss_tui.tui.controllers.hints import Situation, hints_for
from gptoss_tui.tui.controllers.leaving import QUIT_SECONDS, TwicePressed
from gptoss_tui.tui.controllers.loading import ModelLoader
from gptoss_tui.tui.controllers.status import StatusController
from gptoss_tui.tui.controllers.transcript import TranscriptController
from gptoss_tui.tui.history import PromptHistory
from gptoss_tui.tui.keymap import Keymap
from gptoss_tui.tui.state import StateFile
from gptoss_tui.tui.theme import Palette
from gptoss_tui.tui.widgets.approval import ApprovalPanel
from gptoss_tui.tui.widgets.composer import Composer
from gptoss_tui.tui.widgets.hints import HintLine
from gptoss_tui.tui.widgets.loading import LoadingBar
from gptoss_tui.tui.widgets.queue import QueueView, Waiting
from gptoss_tui.tui.widgets.reasoning_pane import ReasoningPane
from gptoss_tui.tui.widgets.status import StatusLine
from gptoss_tui.tui.widgets.transcript import Transcript

PANE_WIDTH = 120
"""From this many columns on, reasoning has a pane of its own."""

WELCOME_KEYS = (
    ("Enter", "send, Ctrl+J or Shift+Enter for a new line"),
    ("Alt+, Alt+.", "think less or more, or Ctrl+T"),
    ("Esc", "stop the model"),
    ("F1", "all keys"),
)


class ChatScreen(Screen[None]):
    """One conversation with one model."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "interrupt", "Stop the model or the running tool", id="chat.interrupt"),
        Binding("alt+comma", "change_effort(-1)", "Think less", id="chat.effort_down", priority=True),
        Binding("alt+full_stop", "change_effort(1)", "Think more", id="chat.effort_up", priority=True),
        Binding("ctrl+t", "cycle_effort", "Next reasoning effort", id="chat.effort_cycle", priority=True),
        Binding("f2", "toggle_reasoning", "Show or hide the reasoning", id="chat.reasoning", priority=True),
        Binding("ctrl+o", "toggle_details", "Open or close tool calls", id="chat.details", priority=True),
        Binding("ctrl+l", "new_conversation", "New conversation", id="chat.new", priority=True),
        Binding("ctrl+end", "to_tail", "End of the conversation", id="chat.tail", priority=True),
        Binding("ctrl+c", "copy_or_quit", "Copy the selection; twice: quit", id="chat.copy", priority=True),
        Binding("f1", "help", "All keys", id="chat.help", priority=True),
    ]

    def __init__(
        self,
        *,
        loader: Callable[[Callable[[LoadProgress], None]], ModelLoader],
        history: PromptHistory,
        clock: Callable[[], float],
        palette: Palette,
        workspace: str,
        effort: Effort,
        prompt: str | None,
        show_pages: bool,
        keymap: Keymap,
        attention: AttentionController,
        state_file: StateFile,
    ) -> None:
        super().__init__(id="chat")
        self._loader = loader(self._show_progress)
        self._history = history
        self._clock = clock
        self._palette = palette
        self._workspace = to_terminal_line(workspace)
        self._first_effort: Effort = effort
        self._prompt = prompt
        self._show_pages = show_pages
        self._keymap = keymap
        self._attention = attention
        self._state_file = state_file
        self._show_pane = True
        self._details_open = show_pages
        self._reasoning_open = False
        self._quit = TwicePressed(clock, QUIT_SECONDS)

    def compose(self) -> ComposeResult:
        with Horizontal(id="main"):
            yield Transcript(id="conversation")
            pane = ReasoningPane(id="reasoning")
            pane.display = self.app.size.width >= PANE_WIDTH
            yield pane
        yield LoadingBar(self._palette, id="loading")
        yield QueueView(self._palette, id="queue")
        yield Composer(self._history, id="composer")
        yield StatusLine(self._palette, id="status")
        yield HintLine(self._palette, id="hints")

    def on_mount(self) -> None:
        """Build the controllers and show the empty state; the model comes after the first frame."""
        transcript, pane = self.query_one("#conversation", Transcript), self.query_one(ReasoningPane)
        self._composer = self.query_one(Composer)
        self._panel = ApprovalPanel(self._palette, self._clock, self._workspace, id="approval")
        self._status = StatusController(self.query_one(StatusLine), self._clock)
        self._talk = TranscriptController(transcript, pane, self._clock, show_pages=self._show_pages)
        self._approvals = ApprovalController(self._panel, lambda: self.set_focus(self._composer))
        listeners = (self._talk.apply, self._status.apply, self._approvals.apply, self._attention.apply, self._heard)
        self._chat = ConversationController(self._loader, self, self._spawn, listeners)
        self._effort = EffortController(self._first_effort, lambda: self._chat.agent, self._status.set_effort)
        self._frames = FrameClock(self._talk.flush, self._tick)
        self._frames.attach(self.set_interval(1 / MAX_RATE, self._frames.frame, pause=True))
        self._effort.apply()
        self.use_palette(self._palette)
        self._talk.welcome(WelcomeBlock(self._workspace, WELCOME_KEYS))
        self._show_hints()
        self._composer.own_keys = self._keymap.own(Composer.BINDINGS)
        self._composer.focus()
        self.call_after_refresh(self._start)

    def update_node_styles(self, animate: bool = True) -> None:
        """Focus restyles what shows focus, not the whole tree: with a long tree that takes seconds."""
        for widget in (self.query_one_optional(Composer), self.query_one_optional(ApprovalPanel)):
            if widget is not None:
                widget.update_node_styles(animate=animate)

    def use_palette(self, palette: Palette) -> None:
        """Draw everything in the colours of another theme."""
        self._palette = palette
        self.query_one("#conversation", Transcript).set_palette(palette)
        self.query_one(ReasoningPane).set_palette(palette)
        for widget in (self.query_one(StatusLine), self.query_one("#hints", HintLine), self.query_one(LoadingBar)):
            widget.palette = palette
            widget.refresh(layout=False)
        self.query_one(QueueView).palette = palette
        if self._panel.is_mounted:
            self._panel.use_palette(palette)

    async def close(self) -> None:
        """End the agent and the engine."""
        await self._loader.close()

    # What the conversation tells

    def _start(self) -> None:
        if self.is_running and self.is_attached:
            if self._keymap.problems:
                self.say("warning", "\n".join(self._keymap.problems), "See `[keys]` in your settings file.")
            self._chat.start(self._prompt)

    def _spawn(self, work: Coroutine[Any, Any, None], group: str) -> object:
        return self.run_worker(work, group=group, exclusive=True)

    def loading_began(self) -> None:
        """The model comes up from now on."""
        self._status.set_activity("loading")
        self._frames.start()

    async def loading_ended(self, info: EngineInfo | None) -> None:
        """The model is there, or (None) it is not."""
        if not self._panel.is_attached:  # nothing can be asked before a model is there; typing comes first
            await self.mount(self._panel, before=self._composer)
        self.query_one(LoadingBar).hide()
        self._frames.stop()
        if info is not None:
            self._status.set_model(info)
            self._effort.apply()
        self._status.set_activity("failed" if info is None else "ready")

    def turns_began(self) -> None:
        """Something runs from now on."""
        self._effort.apply()
        self._composer.busy = True
        self._frames.start()

    def turns_ended(self) -> None:
        """Nothing runs any more."""
        self._composer.busy = False
        self._frames.stop()
        self._show_hints()

    def model_lost(self) -> None:
        """The model went away; the next message loads it again."""
        self._status.set_activity("failed")
        self.say("info", "The model is not loaded any more. Send a message to load it again.")

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Tell the person something, in the conversation."""
        self._talk.notice(kind, message, hint)

    def show_waiting(self, waiting: Waiting) -> None:
        """Show what was typed and not read yet."""
        self.query_one(QueueView).show(waiting)
        self._composer.has_queue = bool(waiting.queued)

    def return_to_draft(self, prompts: Sequence[str]) -> None:
        """These prompts will not run; they go back to where they were typed."""
        if prompts:
            draft = [self._composer.text] if self._composer.text else []
            self._composer.set_draft("\n\n".join([*prompts, *draft]))

    def _heard(self, event: ev.Event) -> None:
        if isinstance(event, ev.TurnStarted | ev.ApprovalRequest | ev.ApprovalResolved):
            self._show_hints()

    def _show_progress(self, progress: LoadProgress) -> None:
        if not progress.done:
            self.query_one(LoadingBar).show(to_terminal_line(progress.stage), progress.fraction)

    def _tick(self) -> None:
        self._talk.tick()
        self.query_one(StatusLine).tick()

    def _show_hints(self) -> None:
        situation = Situation(
            running=self._chat.running,
            asking=self._approvals.is_open,
            following=self.query_one("#conversation", Transcript).following,
            quit_armed=self._quit.armed,
        )
        self.query_one("#hints", HintLine).show(hints_for(situation))

    # What widgets report

    async def on_key(self, event: events.Key) -> None:
        """What is typed while nothing has the focus goes to the composer, which may have got it since, as at start."""
        if self.focused in (None, self._composer) and (event.is_printable or event.key == "enter"):
            await self._composer.take_key(event)

    async def on_paste(self, event: events.Paste) -> None:
        """What is pasted where nothing takes text, as over a question, is part of the draft."""
        await self._composer.take_paste(event)

    @on(Composer.Submitted)
    def _submitted(self, event: Composer.Submitted) -> None:
        self._chat.submit(event.text, later=getattr(event, "later", False))

    @on(Composer.TakeQueued)
    def _edit_queued(self) -> None:
        prompt = self._chat.turns.take_last()
        if prompt is not None:
            self._composer.set_draft(prompt)

    @on(QueueView.Taken)
    def _edit_clicked(self, event: QueueView.Taken) -> None:
        prompt = self._chat.turns.take(event.index)
        if prompt is not None:
            self.return_to_draft([prompt])
            self._composer.focus()

    @on(ApprovalPanel.Answered)
    def _answered(self, event: ApprovalPanel.Answered) -> None:
        if self._chat.agent is None:
            return
        refused = self._approvals.answer(self._chat.agent, event)
        if refused:
            self.say("warning", refused)
        if event.ends_turn:
            self._chat.interrupt()

    @on(ApprovalPanel.StrayText)
    def _stray_text(self, event: ApprovalPanel.StrayText) -> None:
        self._composer.type_text(event.text)

    @on(Transcript.BlockClicked)
    def _block_clicked(self, event: Transcript.BlockClicked) -> None:
        example = event.block.example_at(event.row) if isinstance(event.block, WelcomeBlock) else None
        if example is not None:
            self._composer.set_draft(example)
        else:
            self._talk.toggle(event.block)

    @on(Transcript.FollowingChanged, "#conversation")
    def _following_changed(self) -> None:
        self._show_hints()

    @on(events.ScreenResume)
    def _seen_again(self) -> None:
        """A question that something covered is on screen from now on, not since it was asked."""
        if self.is_mounted and self._approvals.is_open:
            self._panel.grace.shown()

    @on(events.Resize)
    def _resized(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Reasoning has its own pane where there is room for one."""
        pane = self._show_pane and self.size.width >= PANE_WIDTH
        self.query_one(ReasoningPane).display = pane
        self._talk.set_inline_reasoning(not pane and self._show_pane)

    # Actions

    async def action_send(self) -> None:
        """Send the draft (for the mouse)."""
        self._composer.action_submit()

    def action_interrupt(self) -> None:
        """Stop the running turn."""
        self._chat.interrupt()

    def action_change_effort(self, step: int) -> None:
        """Lower or raise the reasoning effort, between its ends."""
        self._effort.change(step)

    def action_cycle_effort(self) -> None:
        """The next effort; after the highest, the lowest."""
        self._effort.cycle()

    def action_toggle_reasoning(self) -> None:
        """Show or hide reasoning: the side pane where it fits, else in the conversation."""
        if self.size.width >= PANE_WIDTH:
            self._show_pane = not self._show_pane
            self._arrange()
        else:
            self._reasoning_open = not self._reasoning_open
            self._talk.open_all(ReasoningBlock, self._reasoning_open)

    def action_toggle_details(self) -> None:
        """Open or close all tool calls."""
        self._details_open = not self._details_open
        self._talk.open_all(ToolBlock, self._details_open)

    def action_new_conversation(self) -> None:
        """Forget the conversation and start an empty one."""
        if self._chat.running:
            self.say("info", "Stop the model first (Esc), then start a new conversation.")
            return
        if self._chat.agent is not None:
            self._chat.agent.new_conversation()
        self._talk.clear()
        self._talk.welcome(WelcomeBlock(self._workspace, WELCOME_KEYS))
        self._status.new_conversation()

    def action_scroll_page(self, direction: int) -> None:
        """Scroll the conversation."""
        self.query_one("#conversation", Transcript).scroll_page(direction)

    def action_to_tail(self) -> None:
        """Go to the end and follow it."""
        self.query_one("#conversation", Transcript).to_tail()

    def action_copy_or_quit(self) -> None:
        """Copy what is selected; without a selection stop the turn, and quit when pressed twice."""
        selected = self.get_selected_text() or self._composer.selected_text
        if selected:
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
            self.notify("Copied", timeout=1.5, markup=False)
            return
        if self._quit.press():
            self.app.exit()
            return
        self._chat.interrupt()
        self._show_hints()
        self.set_timer(QUIT_SECONDS, self._show_hints)

    def action_help(self) -> None:
        """All keys."""
        from gptoss_tui.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen())
