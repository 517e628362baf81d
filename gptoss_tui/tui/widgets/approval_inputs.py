"""The text fields of a question: the reason for a denial, and the edited call."""

from __future__ import annotations

from textual import events
from textual.widgets import Input, TextArea

from gptoss_tui.sanitize import to_terminal_line, to_terminal_text


class ReasonInput(Input):
    """One line for a message to the model. Pasted text is made safe before it is shown."""

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.replace(to_terminal_line(event.text.rstrip("\r\n")), *self.selection)


class CallEditor(TextArea):
    """The text of a call, for editing before it is allowed."""

    async def _on_key(self, event: events.Key) -> None:
        """Leave Escape to the panel."""
        if event.key == "escape":
            event.prevent_default()
            return
        await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.replace(to_terminal_text(event.text.replace("\r\n", "\n").replace("\r", "\n")), *self.selection)


def can_be_shown(text: str) -> bool:
    """Whether `text` is displayed exactly as it is; otherwise editing it here could change more than is visible."""
    return to_terminal_text(text) == text
