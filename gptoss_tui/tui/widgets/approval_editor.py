"""A call in the person's own editor, while the screen is lent to it."""

from __future__ import annotations

from textual.app import App, SuspendNotSupported

from gptoss_tui.tui.composing.editor import EditorError, edit_text, editor_command


def edit_outside(app: App[object], text: str) -> tuple[str, str]:
    """The text as the editor left it, and what went wrong, if anything did."""
    try:
        command = editor_command()
        with app.suspend():
            return edit_text(text, command), ""
    except SuspendNotSupported:
        return text, "No editor can run in this terminal."
    except EditorError as error:
        return text, f"{error.message}. {error.hint or ''}".strip()
