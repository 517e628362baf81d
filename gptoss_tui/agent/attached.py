"""Joins a message and its attachments into one text, and splits such a text again."""

from __future__ import annotations

from dataclasses import dataclass

MARKER = "--- attached ---"
"""The line between the typed message and its attachments."""
RAN = "the user ran: "
"""How the title of a command's output begins."""


OWN_TOOL = "!"
"""The tool name under which the user's own commands are shown."""
NOTE_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Note:
    """Information for the model that is attached to the next message: a one-line title and a text."""

    title: str
    text: str


def note_block(note: Note, room: int = NOTE_CHARS) -> str:
    """Format a note as a block of a message, of at most about `room` characters. Longer texts lose their middle."""
    limit = min(NOTE_CHARS, room)
    text = note.text.rstrip("\n")
    if len(text) > limit:
        half = max(1, limit // 2)
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
    return f"[{note.title}]\n{text}" if text else f"[{note.title}]\n(no output)"


def join_message(typed: str, blocks: list[str]) -> str:
    """The message as it is sent: the typed text, followed by blocks that each begin with a line in brackets."""
    return f"{typed}\n\n{MARKER}\n" + "\n\n".join(blocks) if blocks else typed


def split_message(message: str) -> tuple[str, list[str]]:
    """Split a message into the typed text and the first lines of its attached blocks, without brackets."""
    typed, marker, attached = message.partition(f"\n\n{MARKER}\n")
    if not marker:
        return message, []
    return typed, [block.partition("\n")[0].strip("[]") for block in attached.split("\n\n[")]
