"""What a command may do with the app."""

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
    """The app as a command sees it. Text given to it is made safe by it."""

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
        """Read the saved prompts again, which are commands too."""
        ...

    @property
    def running(self) -> bool:
        """Whether a turn runs."""
        ...

    @property
    def effort(self) -> Effort:
        """The reasoning effort of the next message."""
        ...

    @property
    def themes(self) -> Sequence[str]:
        """The names of the themes."""
        ...

    @property
    def theme(self) -> str:
        """The theme in use."""
        ...

    @property
    def palette(self) -> Palette:
        """The colours in use."""
        ...

    @property
    def workspace(self) -> str:
        """The folder that the app works in."""
        ...

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Tell the person something in the conversation."""
        ...

    def flash(self, message: str) -> None:
        """Tell the person something for a moment."""
        ...

    def record(self) -> Record:
        """The conversation as it is shown."""
        ...

    def use_effort(self, effort: Effort) -> None:
        """Think at `effort` from now on."""
        ...

    def use_mode(self, mode: Mode) -> None:
        """Ask as much as `mode` says from now on, or say why not."""
        ...

    def use_theme(self, name: str) -> None:
        """Draw in the colours of another theme."""
        ...

    def set_draft(self, text: str) -> None:
        """Put text into the composer."""
        ...

    def send(self, text: str) -> None:
        """Send a message, as if it had been typed."""
        ...

    async def copy(self, text: str) -> None:
        """Put text on the clipboard, and say how sure that is."""
        ...

    async def pick(self, picker: Picker) -> Picked | None:
        """Let the person choose; None when they do not."""
        ...

    async def new_conversation(self) -> None:
        """Start an empty conversation."""
        ...

    async def switch_model(self, name: str) -> None:
        """Load another model in the place of this one; one that is not here is downloaded first."""
        ...

    async def resume(self, session_id: str) -> None:
        """Go on with a saved conversation, and show it."""
        ...

    async def fork(self, turn: int | None) -> None:
        """Go on in a copy of the conversation up to a turn, whose message comes into the composer."""
        ...

    async def rewind(self, turn: int) -> None:
        """Drop a turn and what came after it, and show it; files stay as they are."""
        ...

    async def undo(self, turn: int | None, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Take turns back, files included, and show it."""
        ...

    async def redo(self, choices: Mapping[str, Choice]) -> UndoOutcome:
        """Make what was taken back again, and show it."""
        ...

    async def compact(self, instructions: str) -> None:
        """Let the model sum the conversation up."""
        ...

    async def open(self, screen: ModalScreen[None]) -> None:
        """Show something over the conversation, until it is closed."""
        ...

    def show_keys(self) -> None:
        """Open the list of keys."""
        ...

    def quit(self) -> None:
        """End the app."""
        ...
