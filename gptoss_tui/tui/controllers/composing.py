"""Puts together everything behind the composer: completion, commands, shell lines, drafts, history."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss_tui.agent.user_shell import UserShell
from gptoss_tui.settings import config_path
from gptoss_tui.tui.composing.draft import DraftStore
from gptoss_tui.tui.controllers.commands import CommandController, Parts
from gptoss_tui.tui.controllers.completion import CompletionController, Kind
from gptoss_tui.tui.controllers.history import HistoryController
from gptoss_tui.tui.controllers.input import InputController
from gptoss_tui.tui.controllers.models import ModelController
from gptoss_tui.tui.late import late
from gptoss_tui.tui.slash.record import Record

if TYPE_CHECKING:
    from textual.screen import Screen

    from gptoss_tui.agent import events as ev
    from gptoss_tui.agent.commands import ContextReport
    from gptoss_tui.engine.types import LoadProgress
    from gptoss_tui.tui.app import GptOssApp
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.composing.files import FileFinder
    from gptoss_tui.tui.composing.message import Note
    from gptoss_tui.tui.controllers.conversation import ConversationController
    from gptoss_tui.tui.controllers.effort import EffortController
    from gptoss_tui.tui.controllers.loading import ModelLoader
    from gptoss_tui.tui.controllers.modes import ModeController
    from gptoss_tui.tui.controllers.status import StatusController
    from gptoss_tui.tui.controllers.transcript import TranscriptController
    from gptoss_tui.tui.controllers.view import ChatView
    from gptoss_tui.tui.theme import Palette
    from gptoss_tui.tui.widgets.choices import ChoiceList
    from gptoss_tui.tui.widgets.composer import Composer
else:
    ev = late("gptoss_tui.agent.events")

PROMPT_PREVIEW = 4000


@dataclass(frozen=True, slots=True)
class Places:
    """Folders: the workspace, drafts (None: not saved), and the user's prompts (None: there are none)."""

    workspace: Path
    drafts: Path | None = None
    prompts: Path | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """The parts of the screen that commands and messages act on. `renew` begins an empty conversation."""

    screen: Screen[None]
    app: GptOssApp
    composer: Composer
    choices: ChoiceList
    chat: ConversationController
    loader: ModelLoader
    view: ChatView
    talk: TranscriptController
    status: StatusController
    effort: EffortController
    modes: ModeController
    palette: Callable[[], Palette]
    clock: Callable[[], float]
    renew: Callable[[], None]


def places_for(workspace: str, history: Path | None) -> Places:
    """The default folders: drafts next to the prompt history, prompts next to the settings; without history, none."""
    if history is None:
        return Places(Path(workspace))
    return Places(Path(workspace), history.parent / "drafts", config_path().parent / "prompts")


class ComposingController:
    """Implements `ComposerListener`; the screen passes submitted drafts to it."""

    def __init__(self, around: Around, places: Places) -> None:
        self._around = around
        self._places = places
        self.record = Record()
        composer = around.composer
        self.history = HistoryController(lambda: around.chat.agent, self, self.record, around.chat.run_other)
        self.models = ModelController(around.loader, self, self.history, around.chat.load, around.chat.idle)
        self.shell = UserShell(places.workspace, lambda: around.chat.agent, self._show, self._offer)
        parts = Parts(
            composer=composer,
            chat=around.chat,
            effort=around.effort,
            modes=around.modes,
            history=self.history,
            models=self.models,
            record=self.record,
            palette=around.palette,
            say=self.say,
            send=self._send_typed,
            renew=around.renew,
        )
        self.commands = CommandController(around.screen, around.app, parts, str(places.workspace), places.prompts)
        self._input = InputController(
            composer,
            self,
            self._spawn,
            around.chat.submit,
            self._outside,
            self.commands.run,
            self.shell.run,
            places.workspace,
            self._context,
            DraftStore(places.drafts, str(places.workspace)) if places.drafts is not None else None,
        )
        self._completion = CompletionController(
            composer, around.choices, self.commands, self._finder, around.view.show_hints
        )
        composer.listener = self
        around.view.take_back = self._input.take_back

    @property
    def choosing(self) -> Kind:
        """What the completion list offers; empty while it is closed."""
        return self._completion.kind

    # Called by the screen

    def submitted(self, text: str, *, later: bool) -> None:
        """Handle a draft that was sent."""
        self._completion.close()
        self._input.submitted(text, later=later)

    def take_back(self, message: str) -> str:
        """The typed text of a message that was not sent."""
        return self._input.take_back(message)

    def chosen(self, index: int) -> None:
        """Take the completion that was clicked."""
        self._completion.take_row(index)

    def interrupt(self) -> bool:
        """Stop what the user started besides the model, a shell line or a download. False if there is nothing."""
        return self.shell.interrupt() or self.models.stop_fetching()

    def apply(self, event: ev.Event) -> None:
        """Record an event of the conversation."""
        self.record.apply(event)

    def close(self) -> None:
        """Save the draft and stop completing."""
        self._input.close()
        self._completion.close()

    # ComposerListener

    async def take_key(self, key: str) -> bool:
        """Handle a key before the composer gets it. Returns True if the completion used it."""
        return await self._completion.take_key(key)

    def changed(self) -> None:
        """The text or the cursor changed."""
        self._completion.follow()
        self._input.changed()

    def recalled(self) -> None:
        """The draft was set and not typed."""
        self._completion.recalled()

    def search_history(self) -> None:
        """Let the user choose an earlier prompt."""
        self._spawn(self._search_history(), "history")

    def edit_outside(self) -> None:
        """Open the draft in the user's editor."""
        self._input.edit_outside()

    def emptied(self) -> None:
        """Remove the newest note: Backspace was pressed in the empty composer."""
        self._input.drop_note()

    def vim_changed(self) -> None:
        """Show the mode of the composer's Vim keys."""
        self._around.view.show_hints()
        self._completion.follow()

    async def _search_history(self) -> None:
        from gptoss_tui.tui.screens.picker import Item, Picker, loaded

        composer = self._around.composer
        prompts = composer.prompts.newest_first()
        items = [
            Item(str(number), " ".join(prompt.split())[:300], preview=prompt[:PROMPT_PREVIEW], searched=prompt[:2000])
            for number, prompt in enumerate(prompts)
        ]
        picked = await self.commands.pick(
            Picker(
                "Earlier prompts",
                loaded(items),
                what="take",
                empty="No prompt was sent yet.",
                preview=True,
                query=composer.text if "\n" not in composer.text else "",
            )
        )
        if picked is not None:
            composer.set_draft(prompts[int(picked.value)])
        composer.focus()

    # Called by the parts

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        self._around.view.say(kind, message, hint)

    def show_progress(self, progress: LoadProgress) -> None:
        """Show the progress of a download; loading is shown in another way."""
        self._around.view.show_fetching(progress)

    def show_conversation(self, events: tuple[ev.Event, ...]) -> None:
        """Replace the conversation shown by these events."""
        self._around.talk.clear()
        for event in events:
            self._around.talk.apply(event)
        self._around.talk.end_saved()
        self._around.talk.flush()

    def show_context(self, report: ContextReport) -> None:
        """Show how full the context is."""
        self._around.status.set_context(report)

    def drop_turns(self, turn_id: str) -> None:
        """Remove a turn and everything after it from the view."""
        self._around.talk.drop_from(turn_id)

    def set_draft(self, text: str) -> None:
        """Put a message back into the composer."""
        self._around.composer.set_draft(text)

    def _show(self, event: ev.Event) -> None:
        self._around.view.apply_own(event)
        self._around.talk.apply(event)
        self._around.talk.flush()
        self.record.apply(event)

    def _finder(self) -> FileFinder:
        from gptoss_tui.tui.composing.files import FileFinder

        return FileFinder(self._places.workspace, self._around.clock)

    def _offer(self, note: Note) -> None:
        self._input.offer(note)

    def _send_typed(self, text: str) -> None:
        self._input.submitted(text, later=False)

    def _context(self) -> int:
        info = self.models.info
        return info.context if info is not None else 0

    def _spawn(self, work: Coroutine[Any, Any, None], group: str) -> object:
        return self._around.screen.run_worker(work, group=group)

    def _outside(self, work: Callable[[], str]) -> str:
        from textual.app import SuspendNotSupported

        from gptoss_tui.tui.composing.editor import EditorError

        with suppress(SuspendNotSupported), self._around.app.suspend():
            return work()
        raise EditorError("No editor can run in this terminal; the draft is unchanged")
