"""The main screen: conversation, reasoning, composer, status. It wires widgets to controllers and holds no logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from gptoss_tui.agent import events as ev
from gptoss_tui.engine.types import LoadProgress
from gptoss_tui.harmony.messages import EFFORTS, Effort
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.reasoning import ReasoningBlock
from gptoss_tui.tui.blocks.tool import ToolBlock
from gptoss_tui.tui.blocks.welcome import WelcomeBlock
from gptoss_tui.tui.controllers.approvals import ApprovalController
from gptoss_tui.tui.controllers.frames import MAX_RATE, FrameClock
from gptoss_tui.tui.controllers.loading import LoadFailure, ModelLoader
from gptoss_tui.tui.controllers.status import StatusController
from gptoss_tui.tui.controllers.transcript import TranscriptController
from gptoss_tui.tui.controllers.turns import TurnController
from gptoss_tui.tui.history import PromptHistory
from gptoss_tui.tui.theme import Palette
from gptoss_tui.tui.widgets.approval import ApprovalPanel
from gptoss_tui.tui.widgets.composer import Composer
from gptoss_tui.tui.widgets.hints import Hint, HintLine
from gptoss_tui.tui.widgets.loading import LoadingBar
from gptoss_tui.tui.widgets.queue import QueueView
from gptoss_tui.tui.widgets.reasoning_pane import ReasoningPane
from gptoss_tui.tui.widgets.status import StatusLine
from gptoss_tui.tui.widgets.transcript import Transcript

QUIT_SECONDS = 2.0
PANE_WIDTH = 120
"""From this many columns on, reasoning has a pane of its own."""

WELCOME_KEYS = (
    ("Enter", "send, Ctrl+J or Shift+Enter for a new line"),
    ("Alt+, Alt+.", "think less or more, or Ctrl+T"),
    ("Esc", "stop the model"),
    ("F1", "all keys"),
)
_COMMON_HINTS: tuple[Hint, ...] = (
    ("Alt+,/. Ctrl+T", "effort", "screen.cycle_effort"),
    ("F1", "help", "screen.help"),
    ("F2", "reasoning", "screen.toggle_reasoning"),
    ("Ctrl+L", "new", "screen.new_conversation"),
    ("Ctrl+Q", "quit", "app.quit"),
    ("Ctrl+O", "details", "screen.toggle_details"),
)
IDLE_HINTS: tuple[Hint, ...] = (("Enter", "send", "screen.send"), *_COMMON_HINTS)
BUSY_HINTS: tuple[Hint, ...] = (("Esc", "stop", "screen.interrupt"), ("Enter", "queue", "screen.send"), *_COMMON_HINTS)
TAIL_HINT: Hint = ("Ctrl+End", "newest", "screen.to_tail")
QUIT_HINTS: tuple[Hint, ...] = (("Ctrl+C", "again to quit", "app.quit"),)


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
    ) -> None:
        super().__init__(id="chat")
        self._loader = loader(self._show_progress)
        self._history = history
        self._clock = clock
        self._palette = palette
        self._workspace = to_terminal_line(workspace)
        self._effort: Effort = effort
        self._prompt = prompt
        self._show_pages = show_pages
        self._show_pane = True
        self._details_open = show_pages
        self._reasoning_open = False
        self._quit_armed_until = 0.0

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
        self._approvals = ApprovalController(self._panel, self._focus_composer)
        self._turns = TurnController(self._show_event, self._show_queue)
        self._frames = FrameClock(self._talk.flush, self._tick)
        self._frames.attach(self.set_interval(1 / MAX_RATE, self._frames.frame, pause=True))
        self._status.set_effort(self._effort)
        self.use_palette(self._palette)
        self._talk.welcome(WelcomeBlock(self._workspace, WELCOME_KEYS))
        self._show_hints()
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

    # Loading and turns

    def _start(self) -> None:
        if not self.is_running or not self.is_attached:
            return
        if self._prompt:
            self._turns.enqueue(self._prompt)
        self._load()

    @work(group="engine", exclusive=True)
    async def _load(self) -> None:
        self._status.set_activity("loading")
        self._frames.start()
        outcome = await self._loader.load()
        if not self._panel.is_attached:  # nothing can be asked before a model is there; typing comes first
            await self.mount(self._panel, before=self._composer)
        self.query_one(LoadingBar).hide()
        self._frames.stop()
        if isinstance(outcome, LoadFailure):
            self._status.set_activity("failed")
            again = "Send a message to try again."
            self._talk.notice("error", outcome.message, f"{outcome.hint}\n{again}".strip())
            self._return_queue()
            return
        self._status.set_model(outcome)
        self._status.set_activity("ready")
        self._run_queue()

    def _show_progress(self, progress: LoadProgress) -> None:
        if not progress.done:
            self.query_one(LoadingBar).show(to_terminal_line(progress.stage), progress.fraction)

    def _run_queue(self) -> None:
        if self._loader.state == "ready" and not self._turns.running and self._turns.queue:
            self._run_turns()

    @work(group="turns", exclusive=True)
    async def _run_turns(self) -> None:
        agent = self._loader.agent
        if agent is None:
            return
        agent.effort = self._effort
        self._frames.start()
        await self._turns.run(agent)
        self._frames.stop()
        self._show_hints()

    async def _after_failure(self) -> None:
        if not await self._loader.check():
            self._status.set_activity("failed")
            self._talk.notice("info", "The model is not loaded any more. Send a message to load it again.")

    def _show_event(self, event: ev.Event) -> None:
        self._talk.apply(event)
        self._status.apply(event)
        self._approvals.apply(event)
        if isinstance(event, ev.TurnStarted | ev.ApprovalRequest | ev.ApprovalResolved):
            self._show_hints()
        if isinstance(event, ev.TurnFinished):
            if event.reason in ("interrupted", "failed"):
                self._return_queue()
            if event.reason == "failed":
                self.run_worker(self._after_failure(), group="engine")

    def _show_queue(self, prompts: Sequence[str]) -> None:
        self.query_one(QueueView).show(prompts)
        self._composer.has_queue = bool(prompts)

    def _return_queue(self) -> None:
        """Prompts that will not run go back into the draft."""
        prompts = self._turns.take_all()
        if prompts:
            draft = [self._composer.text] if self._composer.text else []
            self._composer.set_draft("\n\n".join([*prompts, *draft]))

    def _tick(self) -> None:
        self._talk.tick()
        self.query_one(StatusLine).tick()

    def _show_hints(self) -> None:
        hints = BUSY_HINTS if self._turns.running else IDLE_HINTS
        if self._approvals.is_open:
            hints = _COMMON_HINTS
        if self._clock() < self._quit_armed_until:
            hints = QUIT_HINTS
        elif not self.query_one("#conversation", Transcript).following:
            hints = (TAIL_HINT, *hints)
        self.query_one("#hints", HintLine).show(hints)

    def _focus_composer(self) -> None:
        self._composer.focus()

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
        self._turns.enqueue(event.text)
        if self._loader.state == "failed":
            self._load()
        else:
            self._run_queue()

    @on(Composer.TakeQueued)
    def _edit_queued(self) -> None:
        prompt = self._turns.take_last()
        if prompt is not None:
            self._composer.set_draft(prompt)

    @on(ApprovalPanel.Answered)
    def _answered(self, event: ApprovalPanel.Answered) -> None:
        if self._loader.agent is None:
            return
        refused = self._approvals.answer(self._loader.agent, event)
        if refused:
            self._talk.notice("warning", refused)
        if event.ends_turn:
            self._loader.agent.interrupt()

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
        if self._turns.running and self._loader.agent is not None:
            self._loader.agent.interrupt()

    def action_change_effort(self, step: int) -> None:
        """Lower or raise the reasoning effort, between its ends."""
        level = min(len(EFFORTS) - 1, max(0, EFFORTS.index(self._effort) + step))
        self._use_effort(EFFORTS[level])

    def action_cycle_effort(self) -> None:
        """The next effort; after the highest, the lowest."""
        self._use_effort(EFFORTS[(EFFORTS.index(self._effort) + 1) % len(EFFORTS)])

    def _use_effort(self, effort: Effort) -> None:
        self._effort = effort
        if self._loader.agent is not None:
            self._loader.agent.effort = effort
        self._status.set_effort(effort)

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
        if self._turns.running:
            self._talk.notice("info", "Stop the model first (Esc), then start a new conversation.")
            return
        if self._loader.agent is not None:
            self._loader.agent.new_conversation()
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
        now = self._clock()
        if now < self._quit_armed_until:
            self.app.exit()
            return
        self._quit_armed_until = now + QUIT_SECONDS
        self.action_interrupt()
        self._show_hints()
        self.set_timer(QUIT_SECONDS, self._show_hints)

    def action_help(self) -> None:
        """All keys."""
        from gptoss_tui.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen())
