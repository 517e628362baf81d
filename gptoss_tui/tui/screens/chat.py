"""The main screen: conversation, panes, composer, status. It connects widgets to controllers and holds no logic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.bindings import APP_KEYS, CHAT_KEYS, COMPOSER_KEYS
from gptoss_tui.tui.blocks.reasoning import ReasoningBlock
from gptoss_tui.tui.blocks.tool import ToolBlock
from gptoss_tui.tui.blocks.welcome import WelcomeBlock
from gptoss_tui.tui.controllers.approvals import ApprovalController
from gptoss_tui.tui.controllers.conversation import ConversationController
from gptoss_tui.tui.controllers.early import EarlyListener
from gptoss_tui.tui.controllers.effort import EffortController
from gptoss_tui.tui.controllers.finding import Finder
from gptoss_tui.tui.controllers.frames import MAX_RATE, FrameClock
from gptoss_tui.tui.controllers.hints import Situation
from gptoss_tui.tui.controllers.leaving import Endings, LeavingController
from gptoss_tui.tui.controllers.modes import ModeController
from gptoss_tui.tui.controllers.panes import PANE_WIDTH, PaneController
from gptoss_tui.tui.controllers.side import SideController
from gptoss_tui.tui.controllers.status import StatusController
from gptoss_tui.tui.controllers.transcript import TranscriptController
from gptoss_tui.tui.controllers.view import ChatView
from gptoss_tui.tui.controllers.welcome import WelcomeController
from gptoss_tui.tui.late import late
from gptoss_tui.tui.panes.base import ItemView, Pane
from gptoss_tui.tui.panes.citations import CitationsPane
from gptoss_tui.tui.panes.dock import OPEN_AT_FIRST, PaneDock
from gptoss_tui.tui.panes.tools import ToolsPane
from gptoss_tui.tui.place import place_of
from gptoss_tui.tui.widgets.choices import ChoiceList
from gptoss_tui.tui.widgets.composer import Composer
from gptoss_tui.tui.widgets.hints import HintLine
from gptoss_tui.tui.widgets.loading import LoadingBar
from gptoss_tui.tui.widgets.queue import QueueView
from gptoss_tui.tui.widgets.status import StatusLine
from gptoss_tui.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.engine.types import LoadProgress
    from gptoss_tui.tui.app import GptOssApp
    from gptoss_tui.tui.controllers.attention import AttentionController
    from gptoss_tui.tui.controllers.composing import ComposingController
    from gptoss_tui.tui.controllers.loading import ModelLoader
    from gptoss_tui.tui.history import PromptHistory
    from gptoss_tui.tui.keymap import Keymap
    from gptoss_tui.tui.options import Options
    from gptoss_tui.tui.slash.registry import Registry
    from gptoss_tui.tui.state import StateFile
    from gptoss_tui.tui.theme import Palette
    from gptoss_tui.tui.widgets.approval import ApprovalPanel
else:
    ev = late("gptoss_tui.agent.events")


class ChatScreen(Screen[None]):
    """A conversation with a model."""

    AUTO_FOCUS = "#composer"
    BINDINGS: ClassVar[list[BindingType]] = [*CHAT_KEYS]

    def __init__(
        self,
        options: Options,
        *,
        loader: Callable[[Callable[[LoadProgress], None]], ModelLoader],
        history: PromptHistory,
        clock: Callable[[], float],
        palette: Palette,
        keymap: Keymap,
        attention: AttentionController,
        state_file: StateFile,
        hardware: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(id="chat")
        self._options = options
        self._loader = loader(self._show_progress)
        self._history = history
        self._clock = clock
        self._palette = palette
        self._workspace = to_terminal_line(options.workspace)
        self._keymap = keymap
        self._attention = attention
        self._state_file = state_file
        self._hardware = hardware
        self._furnished: ComposingController | None = None
        self._panes = PaneController(state_file, OPEN_AT_FIRST, self._arrange)
        self._details_open = options.show_pages
        self._reasoning_open = False

    def compose(self) -> ComposeResult:
        with Horizontal(id="main"):
            yield Transcript(id="conversation")
            yield PaneDock(id="panes")
        yield LoadingBar(self._palette, id="loading")
        yield QueueView(self._palette, id="queue")
        yield Composer(self._history, id="composer")
        yield ChoiceList(self._palette, id="completion")
        yield StatusLine(self._palette, id="status")
        yield HintLine(self._palette, id="hints")

    def on_mount(self) -> None:
        """Create the controllers and show the empty state; the model is loaded after the first frame."""
        transcript = self._transcript = self.query_one("#conversation", Transcript)
        self._dock = self.query_one(PaneDock)
        self._composer = self.query_one(Composer)
        self._composer.use_vim(self._vim_at_start())
        self._status = StatusController(self.query_one(StatusLine), self._clock)
        self._talk = TranscriptController(transcript, self._dock, self._clock, show_pages=self._options.show_pages)
        self._approvals = ApprovalController(self._make_panel, lambda: self.set_focus(self._composer))
        self._frames = FrameClock(self._talk.flush, self._tick)
        self._view = ChatView(
            self, self._talk, self._status, self._frames, self._approvals, self._keymap, self._palette, self._situation
        )
        parts = (self._talk, self._status, self._approvals, self._attention, self._view)
        listeners = (*(part.apply for part in parts), self._heard)
        self._chat = ConversationController(self._loader, self._view, self._spawn, listeners)
        ends = Endings(self._chat.interrupt, self._stop_beside, self.app.exit, self.action_rewind)
        self._leaving = LeavingController(self._clock, self._composer, ends, self._view.show_hints, self.set_timer)
        self._effort = EffortController(self._options.effort, lambda: self._chat.agent, self._view.show_edge)
        self._modes = ModeController(self._options.mode, lambda: self._chat.agent, self._view.show_edge)
        self._side = SideController(self, self._dock, self._panes, self._keymap, self._view.say)
        self._finder = Finder(self, transcript, lambda: self._palette, self._composer.focus)
        self._frames.attach(self.set_interval(1 / MAX_RATE, self._frames.frame, pause=True))
        known = (*CHAT_KEYS, *COMPOSER_KEYS, *APP_KEYS)
        self._view.connect(self._effort, self._modes, known, lambda: self._spawn(self._look_around(), "look"))
        self.use_palette(self._palette)
        self._welcome = WelcomeController(self._talk, self._workspace, self._state_file, self._hardware)
        self._welcome.show()
        self._composer.own_keys = self._keymap.own(COMPOSER_KEYS)
        self._composer.listener = EarlyListener(lambda: self._room)
        self._arrange()
        self.call_after_refresh(self._start)

    def _vim_at_start(self) -> bool:
        """Whether Vim keys are on: what the settings say, else what was chosen last."""
        wanted = self._options.vim
        return self._state_file.remembered.vim if wanted is None else wanted

    def _make_panel(self) -> ApprovalPanel:
        from gptoss_tui.tui.widgets.approval import ApprovalPanel

        return ApprovalPanel(self._palette, self._clock, self._workspace, id="approval")

    @property
    def _room(self) -> ComposingController:
        """The parts behind the composer; created on first use, after the first frame."""
        if self._furnished is not None:
            return self._furnished
        from gptoss_tui.tui.controllers.composing import Around, ComposingController, places_for

        around = Around(
            screen=self,
            app=cast("GptOssApp", self.app),
            composer=self._composer,
            choices=self.query_one("#completion", ChoiceList),
            chat=self._chat,
            loader=self._loader,
            view=self._view,
            talk=self._talk,
            status=self._status,
            effort=self._effort,
            modes=self._modes,
            palette=lambda: self._palette,
            clock=self._clock,
            renew=self.action_new_conversation,
        )
        self._furnished = ComposingController(around, places_for(self._options.workspace, self._history.path))
        return self._furnished

    def update_node_styles(self, animate: bool = True) -> None:
        """Restyle only the widgets that show the focus: restyling a whole long tree would take seconds."""
        for widget in (self.query_one_optional(Composer), self.query_one_optional("#approval")):
            if widget is not None and widget.display:
                widget.update_node_styles(animate=animate)

    def use_palette(self, palette: Palette) -> None:
        """Redraw everything in the colours of another theme."""
        self._palette = palette
        if not hasattr(self, "_view"):
            return  # the terminal reported its colours before the controllers were created
        self._transcript.set_palette(palette)
        self._dock.set_palette(palette)
        self._view.use_palette(palette)

    @property
    def saved_as(self) -> str:
        """The id under which the conversation can be resumed; empty if nothing was said."""
        agent = self._chat.agent
        return (agent.session_id or "") if agent is not None and agent.turns() else ""

    async def close(self) -> None:
        """Save the draft; close the agent and the engine."""
        if self._furnished is not None:
            self._furnished.close()
        await self._loader.close()

    def _start(self) -> None:
        if self.is_running and self.is_attached:
            self._spawn(self._begin(), "start")

    async def _begin(self) -> None:
        """Do what the first frame did not wait for. Modules are imported in a thread, so that keys work meanwhile."""
        await asyncio.to_thread(import_module, "gptoss_tui.tui.controllers.composing")
        if not self.is_running:
            return
        self._room.changed()  # a key may have been pressed before anything listened
        self._room.vim_changed()
        if self._keymap.problems:
            self._view.say("warning", "\n".join(self._keymap.problems), "See `[keys]` in your settings file.")
        self._spawn(self._welcome.look(self._loader.model), "welcome")
        self.look_where()
        resume = self._options.resume
        take_up = partial(self._room.commands.run, "resume", resume or "")
        self._chat.start(self._options.prompt, None if resume is None else take_up)

    def _stop_beside(self) -> bool:
        return self._room.interrupt()

    def _spawn(self, work: Coroutine[Any, Any, None], group: str) -> object:
        return self.run_worker(work, group=group, exclusive=True)

    def _tick(self) -> None:
        self._view.tick()

    def _show_progress(self, progress: LoadProgress) -> None:
        self._view.show_progress(progress)

    def _situation(self) -> Situation:
        return Situation(
            running=self._chat.running,
            asking=self._approvals.is_open,
            following=self._transcript.following,
            quit_armed=self._leaving.quit_key.armed,
            rewind_armed=self._leaving.rewind_key.armed,
            choosing=self._furnished.choosing if self._furnished is not None else "",
            beside=self._view.own_runs,
            vim=self._composer.vim.label if self._composer.vim is not None else "",
        )

    async def _look_around(self) -> None:
        """Show what can be said about this machine now that a model is loaded."""
        await self._welcome.look(self._loader.model)
        await self._welcome.say_guides(self._loader.guides())
        self._status.set_sandbox(await self._loader.sandbox())

    def look_where(self) -> None:
        """Show the folder and the branch, which may have changed while the window had no focus."""
        if self.is_mounted:
            self._spawn(self._show_place(), "place")

    async def _show_place(self) -> None:
        self._view.show_place(await asyncio.to_thread(place_of, self._options.workspace))

    def _heard(self, event: ev.Event) -> None:
        self._room.apply(event)
        self._welcome.apply(event)
        if isinstance(event, ev.TurnFinished) and self._chat.agent is not None:
            self._status.set_context(self._chat.agent.context())
            self.look_where()

    async def on_key(self, event: events.Key) -> None:
        """Pass keys typed without a focused widget to the composer, which may have got the focus since, as at start."""
        if self.focused in (None, self._composer) and (event.is_printable or event.key == "enter"):
            await self._composer.take_key(event)

    async def on_paste(self, event: events.Paste) -> None:
        """Paste into the draft if the focused widget takes no text, such as a question."""
        await self._composer.take_paste(event)

    @on(Composer.Submitted)
    def _submitted(self, event: Composer.Submitted) -> None:
        self._room.submitted(event.text, later=event.later)

    @on(ChoiceList.Chosen, "#completion")
    def _completion_clicked(self, event: ChoiceList.Chosen) -> None:
        self._room.chosen(event.index)

    @on(Composer.Changed, "#composer")
    def _typed(self) -> None:
        self._leaving.typed()

    @on(Composer.TakeQueued)
    def _edit_queued(self) -> None:
        prompt = self._chat.turns.take_last()
        if prompt is not None:
            self._composer.set_draft(self._room.take_back(prompt))

    @on(QueueView.Taken)
    def _edit_clicked(self, event: QueueView.Taken) -> None:
        prompt = self._chat.turns.take(event.index)
        if prompt is not None:
            self._view.return_to_draft([prompt])
            self._composer.focus()

    def on_approval_panel_answered(self, event: ApprovalPanel.Answered) -> None:
        """Pass on the answer to a question."""
        if self._chat.agent is None:
            return
        refused = self._approvals.answer(self._chat.agent, event)
        if refused:
            self._view.say("warning", refused)
        if event.ends_turn:
            self._chat.interrupt()

    def on_approval_panel_stray_text(self, event: ApprovalPanel.StrayText) -> None:
        """Add text that was typed over a question to the draft."""
        self._composer.type_text(event.text)

    @on(Transcript.BlockClicked, "#conversation")
    def _block_clicked(self, event: Transcript.BlockClicked) -> None:
        example = event.block.example_at(event.row) if isinstance(event.block, WelcomeBlock) else None
        if example is not None:
            self._composer.set_draft(example)
        else:
            self._talk.toggle(event.block)

    @on(Transcript.FollowingChanged, "#conversation")
    def _following_changed(self) -> None:
        self._view.show_hints()

    @on(events.ScreenResume)
    def _seen_again(self) -> None:
        """Restart the grace period of a question that was covered: it counts as shown from now on."""
        if self.is_mounted:
            self._approvals.seen_again()

    @on(Pane.Closed)
    def _pane_closed(self, event: Pane.Closed) -> None:
        self._side.toggle(event.name)

    @on(ItemView.Left)
    def _pane_left(self) -> None:
        self._side.leave()

    @on(ToolsPane.Wanted)
    def _call_wanted(self, event: ToolsPane.Wanted) -> None:
        self._side.leave()
        self._talk.go_to(event.call)

    @on(CitationsPane.Wanted)
    def _page_wanted(self, event: CitationsPane.Wanted) -> None:
        self._side.open_page(event.citations, self._chat.agent, self._palette)

    @on(events.Resize)
    def _resized(self) -> None:
        self._arrange()
        self._view.show_edge()

    def _arrange(self) -> None:
        """Put panes beside the conversation if there is room; if not, show reasoning within it."""
        self._talk.set_inline_reasoning(self._side.arrange())

    def run_command(self, name: str) -> None:
        """Run a slash command (for the palette)."""
        self.run_worker(self._room.commands.run(name, ""), group="command")

    @property
    def commands(self) -> Registry:
        """The slash commands (for the palette)."""
        return self._room.commands.registry

    async def action_send(self) -> None:
        """Send the draft (for the mouse)."""
        self._composer.action_submit()

    async def action_send_later(self) -> None:
        """Queue the draft (for the mouse)."""
        self._composer.action_submit_later()

    def action_interrupt(self) -> None:
        """Stop the running turn. Pressed twice with nothing typed or running: go back to an earlier message."""
        self._leaving.escape()

    def action_rewind(self) -> None:
        """Go back to the point before an earlier message."""
        self.run_command("rewind")

    def action_cycle_mode(self) -> None:
        """Switch to the next approval mode."""
        if refusal := self._modes.cycle():
            self._view.say("warning", refusal)

    def action_change_effort(self, step: int) -> None:
        """Lower or raise the reasoning effort, within its range."""
        self._effort.change(step)

    def action_cycle_effort(self) -> None:
        """Switch to the next effort; after the highest comes the lowest."""
        self._effort.cycle()

    def action_toggle_pane(self, name: str) -> None:
        """Show or hide a pane: beside the conversation if it fits, else in its place."""
        self._side.toggle(name)

    def action_focus_pane(self) -> None:
        """Focus the next open pane; after the last one, the composer."""
        self._side.focus_next()

    async def action_search(self) -> None:
        """Search in the conversation; while a search is open, go to the next match."""
        await self._finder.open()

    def action_toggle_reasoning(self) -> None:
        """Show or hide reasoning: in the side pane if it fits, else in the conversation."""
        if self.size.width >= PANE_WIDTH:
            self._panes.toggle("reasoning")
        else:
            self._reasoning_open = not self._reasoning_open
            self._talk.open_all(ReasoningBlock, self._reasoning_open)

    def action_toggle_details(self) -> None:
        """Open or close all tool calls."""
        self._details_open = not self._details_open
        self._talk.open_all(ToolBlock, self._details_open)

    def action_new_conversation(self) -> None:
        """Leave the conversation and start an empty one."""
        if self._chat.running:
            self._view.say("info", "Stop the model first (Esc), then start a new conversation.")
            return
        if self._chat.agent is not None:
            self._chat.agent.new_conversation()
        self._talk.clear()
        self._room.record.clear()
        self._welcome.show()
        self._spawn(self._welcome.say_guides(self._loader.guides()), "guides")
        self._status.new_conversation()

    def action_scroll_page(self, direction: int) -> None:
        """Scroll the conversation by a page."""
        self._transcript.scroll_page(direction)

    def action_to_tail(self) -> None:
        """Scroll to the end and follow it."""
        self._transcript.to_tail()

    async def action_copy_or_quit(self) -> None:
        """Copy the selection. Without one, stop the turn; pressed twice, quit."""
        selected = self.get_selected_text() or self._composer.marked_text
        if not selected:
            self._leaving.control_c()
            return
        self.app.copy_to_clipboard(selected)
        self.clear_selection()
        await self._composer.unmark()
        self.notify("Copied", timeout=1.5, markup=False)

    def action_quit_empty(self) -> None:
        """End the app if nothing is typed and nothing is running."""
        if self._composer.is_empty and not self._chat.running:
            self.app.exit()

    def action_redraw(self) -> None:
        """Repaint the whole screen."""
        cast("GptOssApp", self.app).redraw()

    @work(group="palette", exclusive=True)
    async def action_palette(self) -> None:
        """Let the user find a command or a key's action, and run it."""
        from gptoss_tui.tui.controllers.palette import open_palette

        await open_palette(self._room.commands, self._keymap, CHAT_KEYS, self.run_action)

    def action_help(self) -> None:
        """Show all keys."""
        from gptoss_tui.tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self._keymap.keys, vim=self._composer.vim is not None))
