"""The editor for prompts: Enter sends, Shift+Enter or Ctrl+J breaks the line, Up and Down walk the history."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.tui.blocks.base import plural
from gptoss_tui.tui.history import PromptHistory

PLACEHOLDER = "Ask something, or say what to change"
CHIP_LINES = 20
CHIP_CHARS = 1500
_OWN_KEYS = {
    "enter": "submit",
    "ctrl+j": "newline",
    "shift+enter": "newline",
    "alt+enter": "newline",
    "question_mark": "help_or_type",
}


class Composer(TextArea):
    """A multi-line editor with history. A large paste becomes a chip, which keeps typing fast, and is sent in full."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send the message", id="composer.submit"),
        Binding("ctrl+j,shift+enter,alt+enter", "newline", "Start a new line", id="composer.newline"),
        Binding("up", "cursor_up", "Earlier prompt, from the first line", id="composer.up"),
        Binding("down", "cursor_down", "Later prompt, from the last line", id="composer.down"),
        Binding("pageup", "screen.scroll_page(-1)", "Conversation one page up", id="composer.page_up"),
        Binding("pagedown", "screen.scroll_page(1)", "Conversation one page down", id="composer.page_down"),
        Binding("question_mark", "help_or_type", "Help, when the composer is empty", id="composer.help"),
    ]

    class Submitted(Message):
        """A prompt was sent; `text` has pasted chips spelled out."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class TakeQueued(Message):
        """Up was pressed in an empty composer: the last queued prompt may come back for editing."""

    def __init__(self, history: PromptHistory, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, highlight_cursor_line=False, placeholder=PLACEHOLDER)
        self.prompts = history
        self.has_queue = False
        self._chips: dict[str, str] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is typed."""
        return not self.text

    def set_draft(self, text: str) -> None:
        """Replace the draft and put the cursor at its end. Text from files and flags is made safe here."""
        self.load_text(to_terminal_text(text))
        self.move_cursor(self.document.end)

    def type_text(self, text: str) -> None:
        """Insert text at the cursor, as if typed."""
        self.insert(to_terminal_text(text))

    def action_submit(self) -> None:
        """Send what is typed, if anything."""
        text = self.text
        for chip, pasted in self._chips.items():
            text = text.replace(chip, pasted)
        if not text.strip():
            return
        self.prompts.add(text)
        self._chips.clear()
        self.load_text("")
        self.post_message(self.Submitted(text))

    def action_newline(self) -> None:
        """Break the line at the cursor."""
        self.insert("\n")

    async def action_help_or_type(self) -> None:
        """`?` opens the help only where it cannot be part of a prompt."""
        if self.is_empty:
            await self.run_action("screen.help")
        else:
            self.insert("?")

    def action_cursor_up(self, select: bool = False) -> None:
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        elif self.is_empty and self.has_queue:
            self.post_message(self.TakeQueued())
        elif (earlier := self.prompts.earlier(self.text)) is not None:
            self.set_draft(earlier)

    def action_cursor_down(self, select: bool = False) -> None:
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        elif (later := self.prompts.later(self.text)) is not None:
            self.set_draft(later)

    async def take_key(self, event: events.Key) -> None:
        """A key that came while nothing had the focus, as at start: it is part of the draft."""
        self.focus()
        await self._on_key(event)

    async def take_paste(self, event: events.Paste) -> None:
        """A paste that came while something else had the focus."""
        await self._on_paste(event)

    async def _on_key(self, event: events.Key) -> None:
        """Keys that depend on the draft are taken here, in the order in which they were typed.

        A priority binding would run before the letters that were typed just before it.
        """
        action = _OWN_KEYS.get(event.key)
        if action is None:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        await self.run_action(action)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        text = to_terminal_text(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        count = text.count("\n") + 1
        if count > CHIP_LINES or len(text) > CHIP_CHARS:
            chip = f"[paste {len(self._chips) + 1}: {plural(count, 'line')}, {len(text)} characters]"
            self._chips[chip] = text
            text = chip
        self.insert(text)
