"""The interface through which a command acts on the app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from textual.screen import ModalScreen

    from gptoss_tui.agent.commands import AgentPort, UndoOutcome
    from gptoss_tui.engine.types import EngineInfo
    from gptoss_tui.harmony.messages import Effort
    from gptoss_tui.settings import Mode
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.screens.picker import Picked, Picker
    from gptoss_tui.tui.slash.record import Record
    from gptoss_tui.tui.slash.registry import Registry
    from gptoss_tui.tui.theme import Palette
    from gptoss_tui.undo.types import Choice


class SlashPort(Protocol):
    """The app as a command sees it. It makes text that it is given safe for the terminal."""

    @property
    def agent(self) -> AgentPort | None:
        """The agent; None while no model is loaded."""
        ...

    @property
    def info(self) -> EngineInfo | None:
        """The loaded model."""
        ...

    @property
    def model(self) -> str:
        """The name of the model in use."""
        ...

    @property
    def registry(self) -> Registry:
        """All commands."""
        ...

    def reload(self) -> None:
        """Reread the saved prompts, which are commands, too."""
        ...

    @property
    def running(self) -> bool:
        """Whether a turn is running."""
        ...

    @property
    def effort(self) -> Effort:
        """The reasoning effort for the next message."""
        ...

    @property
    def themes(self) -> Sequence[str]:
        """The names of the themes."""
        ...

    @property
    def theme(self) -> str:
        """The name of the chosen theme; `auto` if it follows the terminal."""
        ...

    @property
    def vim(self) -> bool:
        """Whether the composer has Vim keys."""
        ...

    @property
    def palette(self) -> Palette:
        """The current palette."""
        ...

    @property
    def workspace(self) -> str:
        """The folder that the app works in."""
        ...

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        ...

    def flash(self, message: str) -> None:
        """Show a message for a moment."""
        ...

    def record(self) -> Record:
        """The conversation as shown."""
        ...

    def use_effort(self, effort: Effort) -> None:
        """Set the reasoning effort from now on."""
        ...

    def use_mode(self, mode: Mode) -> None:
        """Switch the approval mode, or show why that is refused."""
        ...

    def try_theme(self, name: str) -> Palette:
        """Show a theme without choosing it. Returns its palette."""
        ...

    def use_theme(self, name: str) -> None:
        """Switch to another theme."""
        ...

    def use_vim(self, on: bool) -> None:
        """Switch the composer's Vim keys on or off, and remember that."""
        ...

    def set_draft(self, text: str) -> None:
        """Put text into the composer."""
        ...

    def send(self, text: str) -> None:
        """Send a message as if it had been typed."""
        ...

    async def copy(self, text: str) -> None:
        """Copy text to the clipboard, and say how certain that is."""
        ...

    async def pick(self, picker: Picker) -> Picked | None:
        """Let the user choose; None when they cancel."""
        ...

    async def new_conversation(self) -> None:
        """Start an empty conversation."""
        ...

    async def switch_model(self, name: str) -> None:
        """Replace the model by another one, which is downloaded first if necessary."""
        ...

    async def resume(self, session_id: str) -> None:
        """Continue a saved conversation, and show it."""
        ...

    async def fork(self, turn: int | None) -> None:
        """Continue in a copy of the conversation up to a turn, whose message is put into the composer."""
        ...

    async def rewind(self, turn: int) -> None:
        """Drop a turn and everything after it, and show the result; files stay as they are."""
        ...

    async def undo(self, turn: int | None, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Undo turns, including their file changes, and show the result."""
        ...

    async def redo(self, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Redo what was undone, and show the result."""
        ...

    async def compact(self, instructions: str) -> None:
        """Let the model summarize the conversation."""
        ...

    async def open(self, screen: ModalScreen[None]) -> None:
        """Show a screen over the conversation until it is closed."""
        ...

    def show_keys(self) -> None:
        """Open the list of keys."""
        ...

    def quit(self) -> None:
        """End the app."""
        ...
