"""The app as slash commands see it: `SlashPort`, and running the commands that were typed."""

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
from gptoss_tui.tui.slash.registry import Registry, builtin_commands
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
    """What commands act on. `send` sends a message as if it had been typed, `renew` begins a conversation."""

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
        """Run the command `name`. What goes wrong is told; a command that there is not goes back into the draft."""
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
        close.sort(key=lambda one: sorted(one) != sorted(name))  # two letters changed places: the likeliest slip
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
        """All commands. Saved prompts are read again when the composer begins to offer them, and before one runs."""
        if self._registry is None:
            self.reload()
        assert self._registry is not None
        return self._registry

    def reload(self) -> None:
        """Read the prompts of the person and of the project again."""
        from gptoss_tui.agent.saved_prompts import saved_prompts

        prompts = saved_prompts(self._prompts, Path(os.path.realpath(self._workspace)))
        self._registry = Registry([*builtin_commands(), *prompt_commands(prompts)])

    @property
    def running(self) -> bool:
        """Whether a turn runs."""
        return self._parts.chat.running

    @property
    def effort(self) -> Effort:
        """The reasoning effort of the next message."""
        return self._parts.effort.effort

    @property
    def themes(self) -> Sequence[str]:
        """The names of the themes, our own first."""
        ours = [AUTO, *(theme.name for theme in THEMES)]
        return [*ours, *(name for name in self._app.available_themes if name not in ours)]

    @property
    def theme(self) -> str:
        """The theme in use."""
        return self._app.theme

    @property
    def palette(self) -> Palette:
        """The colours in use."""
        return self._parts.palette()

    @property
    def workspace(self) -> str:
        """The folder that the app works in."""
        return self._workspace

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Tell the person something in the conversation."""
        self._parts.say(kind, message, hint)

    def flash(self, message: str) -> None:
        """Tell the person something for a moment."""
        self._screen.notify(to_terminal_line(message), timeout=FLASH_SECONDS, markup=False)

    def record(self) -> Record:
        """The conversation as it is shown."""
        return self._parts.record

    def use_effort(self, effort: Effort) -> None:
        """Think at `effort` from now on."""
        self._parts.effort.use(effort)

    def use_mode(self, mode: Mode) -> None:
        """Ask as much as `mode` says from now on, or say why not."""
        if refusal := self._parts.modes.use(mode):
            self.say("warning", refusal)
        else:
            self.flash(f"Approval mode: {mode}")

    def use_theme(self, name: str) -> None:
        """Draw in the colours of another theme."""
        self._app.use_theme(name)

    def set_draft(self, text: str) -> None:
        """Put text into the composer."""
        self._parts.composer.set_draft(text)
        self._parts.composer.focus()

    def send(self, text: str) -> None:
        """Send a message, as if it had been typed."""
        self._parts.send(text)

    async def copy(self, text: str) -> None:
        """Put text on the clipboard, and say how sure that is."""
        from gptoss_tui.tui.clipboard import copy_by_program

        self._app.copy_to_clipboard(to_terminal_text(text))
        where = await copy_by_program(text)
        size = f"{len(text):,} characters"
        sent = f"Sent {size} to the terminal's clipboard; if nothing pastes, select with Shift held"
        self.flash(f"Copied {size} to {where}" if where else sent)

    async def pick(self, picker: Picker) -> Picked | None:
        """Let the person choose; None when they do not."""
        from gptoss_tui.tui.screens.picker import PickerScreen

        return await self._app.push_screen_wait(PickerScreen(picker, self.palette))

    async def open(self, screen: ModalScreen[None]) -> None:
        """Show something over the conversation, until it is closed."""
        await self._app.push_screen_wait(screen)

    async def new_conversation(self) -> None:
        """Start an empty conversation."""
        self._parts.renew()

    async def resume(self, session_id: str) -> None:
        """Go on with a saved conversation, and show it."""
        self._parts.history.resume(session_id)

    async def fork(self, turn: int | None) -> None:
        """Go on in a copy of the conversation up to a turn, whose message comes into the composer."""
        self._parts.history.fork(turn)

    async def rewind(self, turn: int) -> None:
        """Drop a turn and what came after it, and show it; files stay as they are."""
        self._parts.history.rewind(turn)

    async def undo(self, turn: int | None, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Take turns back, files included, and show it."""
        return await self._parts.history.undo(turn, choices)

    async def redo(self, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Make what was taken back again, and show it."""
        return await self._parts.history.redo(choices)

    async def compact(self, instructions: str) -> None:
        """Let the model sum the conversation up."""
        self._parts.history.compact(instructions)

    async def switch_model(self, name: str) -> None:
        """Load another model in the place of this one; one that is not here is downloaded first."""
        await self._parts.models.switch(name)

    def show_keys(self) -> None:
        """Open the list of keys."""
        self._screen.call_later(self._screen.run_action, "screen.help")

    def quit(self) -> None:
        """End the app."""
        self._app.exit()
