"""Where a person types while a question is open: why not, or what the call should be instead."""

from __future__ import annotations

from textual import events
from textual.widgets import Input, TextArea

from gptoss_tui.sanitize import to_terminal_line, to_terminal_text


class ReasonInput(Input):
    """One line to the model. What is pasted is made safe before it is shown."""

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.replace(to_terminal_line(event.text.rstrip("\r\n")), *self.selection)


class CallEditor(TextArea):
    """The text of a call, to be changed before it is allowed."""

    async def _on_key(self, event: events.Key) -> None:
        """Escape belongs to the question around."""
        if event.key == "escape":
            event.prevent_default()
            return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.replace(to_terminal_text(event.text.replace("\r\n", "\n").replace("\r", "\n")), *self.selection)


def can_be_shown(text: str) -> bool:
    """Whether an editor on the screen shows `text` as it is; else changing it there would change more than is seen."""
    return to_terminal_text(text) == text
