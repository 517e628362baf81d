"""The app as slash commands see it (`SlashPort`), and running the commands that the user types."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.errors import GptOssError
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.tui.slash.prompts import SAVED, prompt_commands
from gptoss_tui.tui.slash.registry import Registry
from gptoss_tui.tui.theme import AUTO, THEMES, Palette

if TYPE_CHECKING:
    from textual.screen import ModalScreen, Screen

    from gptoss_tui.agent.commands import AgentPort, UndoOutcome
    from gptoss_tui.engine.types import EngineInfo
    from gptoss_tui.harmony.messages import Effort
    from gptoss_tui.settings import Mode
    from gptoss_tui.tui.app import GptOssApp
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.controllers.conversation import ConversationController
    from gptoss_tui.tui.controllers.effort import EffortController
    from gptoss_tui.tui.controllers.history import HistoryController
    from gptoss_tui.tui.controllers.models import ModelController
    from gptoss_tui.tui.controllers.modes import ModeController
    from gptoss_tui.tui.screens.picker import Picked, Picker
    from gptoss_tui.tui.slash.record import Record
    from gptoss_tui.tui.widgets.composer import Composer
    from gptoss_tui.undo.types import Choice

FLASH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What commands act on. `send` sends a message as if typed; `renew` begins a new conversation."""

    composer: Composer
    chat: ConversationController
    effort: EffortController
    modes: ModeController
    history: HistoryController
    models: ModelController
    record: Record
    palette: Callable[[], Palette]
    say: Callable[[NoticeKind, str, str], None]
    send: Callable[[str], None]
    renew: Callable[[], None]


class CommandController:
    """Implements `SlashPort`, and runs commands by name."""

    def __init__(
        self, screen: Screen[None], app: GptOssApp, parts: Parts, workspace: str, prompts: Path | None
    ) -> None:
        self._screen = screen
        self._app = app
        self._parts = parts
        self._workspace = workspace
        self._prompts = prompts
        self._registry: Registry | None = None

    async def run(self, name: str, argument: str) -> None:
        """Run the command `name`. Errors are shown; an unknown command is put back into the draft."""
        command = self.registry.find(name)
        if command is None or command.group in SAVED:
            self.reload()
            command = self.registry.find(name)
        if command is None:
            self._unknown(name, argument)
            return
        if self.running and not command.while_running:
            self.say("info", f"/{command.name} is not available while the model works; Esc stops it.")
            self.set_draft(f"/{name} {argument}".rstrip())
            return
        try:
            await command.run(self, argument)
        except GptOssError as error:
            self.say("error", error.message, error.hint or "")

    def _unknown(self, name: str, argument: str) -> None:
        known = [one.name for one in self.registry]
        close = difflib.get_close_matches(name, known)
        close.sort(key=lambda one: sorted(one) != sorted(name))  # swapped letters are the likeliest typo
        hint = f"Did you mean /{close[0]}? " if close else ""
        self.say("warning", f"There is no command /{name}.", f"{hint}A space before the / sends it as a message.")
        if self._parts.composer.is_empty:
            self.set_draft(f"/{name} {argument}".rstrip())

    # SlashPort

    @property
    def agent(self) -> AgentPort | None:
        """The agent; None while no model is loaded."""
        return self._parts.chat.agent

    @property
    def info(self) -> EngineInfo | None:
        """The loaded model."""
        return self._parts.models.info

    @property
    def model(self) -> str:
        """The name of the model in use."""
        return self._parts.models.name

    @property
    def registry(self) -> Registry:
        """All commands. Saved prompts are reread when the composer starts to offer them, and before one runs."""
        if self._registry is None:
            self.reload()
        assert self._registry is not None
        return self._registry

    def reload(self) -> None:
        """Reread the saved prompts of the user and of the project."""
        from gptoss_tui.agent.saved_prompts import saved_prompts
        from gptoss_tui.tui.slash.builtin import BUILTIN

        prompts = saved_prompts(self._prompts, Path(os.path.realpath(self._workspace)))
        self._registry = Registry([*BUILTIN, *prompt_commands(prompts)])

    @property
    def running(self) -> bool:
        """Whether a turn is running."""
        return self._parts.chat.running

    @property
    def effort(self) -> Effort:
        """The reasoning effort for the next message."""
        return self._parts.effort.effort

    @property
    def themes(self) -> Sequence[str]:
        """The names of the themes, our own first."""
        ours = [AUTO, *(theme.name for theme in THEMES)]
        return [*ours, *(name for name in self._app.available_themes if name not in ours)]

    @property
    def theme(self) -> str:
        """The name of the chosen theme; `auto` if it follows the terminal."""
        return self._app.chosen_theme

    @property
    def vim(self) -> bool:
        """Whether the composer has Vim keys."""
        return self._parts.composer.vim is not None

    @property
    def palette(self) -> Palette:
        """The current palette."""
        return self._parts.palette()

    @property
    def workspace(self) -> str:
        """The folder that the app works in."""
        return self._workspace

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        self._parts.say(kind, message, hint)

    def flash(self, message: str) -> None:
        """Show a message for a moment."""
        self._screen.notify(to_terminal_line(message), timeout=FLASH_SECONDS, markup=False)

    def record(self) -> Record:
        """The conversation as shown."""
        return self._parts.record

    def use_effort(self, effort: Effort) -> None:
        """Set the reasoning effort from now on."""
        self._parts.effort.use(effort)

    def use_mode(self, mode: Mode) -> None:
        """Switch the approval mode, or show why that is refused."""
        if refusal := self._parts.modes.use(mode):
            self.say("warning", refusal)
        else:
            self.flash(f"Approval mode: {mode}")

    def try_theme(self, name: str) -> Palette:
        """Show a theme without choosing it. Returns its palette."""
        return self._app.try_theme(name)

    def use_theme(self, name: str) -> None:
        """Switch to another theme."""
        self._app.use_theme(name)

    def use_vim(self, on: bool) -> None:
        """Switch the composer's Vim keys on or off, and remember that."""
        self._parts.composer.use_vim(on)
        self._app.state_file.remembered.vim = on
        self._app.state_file.save()

    def set_draft(self, text: str) -> None:
        """Put text into the composer."""
        self._parts.composer.set_draft(text)
        self._parts.composer.focus()

    def send(self, text: str) -> None:
        """Send a message as if it had been typed."""
        self._parts.send(text)

    async def copy(self, text: str) -> None:
        """Copy text to the clipboard, and say how certain that is."""
        from gptoss_tui.tui.clipboard import copy_by_program

        self._app.copy_to_clipboard(to_terminal_text(text))
        where = await copy_by_program(text)
        size = f"{len(text):,} characters"
        sent = f"Sent {size} to the terminal's clipboard; if nothing pastes, select with Shift held"
        self.flash(f"Copied {size} to {where}" if where else sent)

    async def pick(self, picker: Picker) -> Picked | None:
        """Let the user choose; None when they cancel."""
        from gptoss_tui.tui.screens.picker import PickerScreen

        return await self._app.push_screen_wait(PickerScreen(picker, self.palette))

    async def open(self, screen: ModalScreen[None]) -> None:
        """Show a screen over the conversation until it is closed."""
        await self._app.push_screen_wait(screen)

    async def new_conversation(self) -> None:
        """Start an empty conversation."""
        self._parts.renew()

    async def resume(self, session_id: str) -> None:
        """Continue a saved conversation, and show it."""
        self._parts.history.resume(session_id)

    async def fork(self, turn: int | None) -> None:
        """Continue in a copy of the conversation up to a turn, whose message is put into the composer."""
        self._parts.history.fork(turn)

    async def rewind(self, turn: int) -> None:
        """Drop a turn and everything after it, and show the result; files stay as they are."""
        self._parts.history.rewind(turn)

    async def undo(self, turn: int | None, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Undo turns, including their file changes, and show the result."""
        return await self._parts.history.undo(turn, choices)

    async def redo(self, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Redo what was undone, and show the result."""
        return await self._parts.history.redo(choices)

    async def compact(self, instructions: str) -> None:
        """Let the model summarize the conversation."""
        self._parts.history.compact(instructions)

    async def switch_model(self, name: str) -> None:
        """Replace the model by another one, which is downloaded first if necessary."""
        await self._parts.models.switch(name)

    def show_keys(self) -> None:
        """Open the list of keys."""
        self._screen.call_later(self._screen.run_action, "screen.help")

    def quit(self) -> None:
        """End the app."""
        self._app.exit()
