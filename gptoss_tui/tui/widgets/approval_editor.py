"""Editing a call in the user's own editor while the app is suspended."""

from __future__ import annotations

from textual.app import App, SuspendNotSupported

from gptoss_tui.tui.composing.editor import EditorError, edit_text, editor_command


def edit_outside(app: App[object], text: str) -> tuple[str, str]:
    """Returns the edited text, and an error message, which is empty on success."""
    try:
        command = editor_command()
        with app.suspend():
            return edit_text(text, command), ""
    except SuspendNotSupported:
        return text, "No editor can run in this terminal."
    except EditorError as error:
        return text, f"{error.message}. {error.hint or ''}".strip()
