"""A message and what goes with it, in one text: how the two are told apart again."""

from __future__ import annotations

from dataclasses import dataclass

MARKER = "--- attached ---"
"""The line that stands between what was typed and what goes with it."""


OWN_TOOL = "!"
"""The tool as which commands of the person's own are shown."""
NOTE_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the model to know with the next message: a title of one line, and a text."""

    title: str
    text: str


def note_block(note: Note, room: int = NOTE_CHARS) -> str:
    """A note as a block of a message, of at most about `room` characters: begin and end of a longer text."""
    limit = min(NOTE_CHARS, room)
    text = note.text.rstrip("\n")
    if len(text) > limit:
        half = max(1, limit // 2)
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
    return f"[{note.title}]\n{text}" if text else f"[{note.title}]\n(no output)"


def join_message(typed: str, blocks: list[str]) -> str:
    """The message as it is sent: what was typed, and blocks that each begin with a line in brackets."""
    return f"{typed}\n\n{MARKER}\n" + "\n\n".join(blocks) if blocks else typed


def split_message(message: str) -> tuple[str, list[str]]:
    """What was typed, and the first lines of what went with it, without their brackets."""
    typed, marker, attached = message.partition(f"\n\n{MARKER}\n")
    if not marker:
        return message, []
    return typed, [block.partition("\n")[0].strip("[]") for block in attached.split("\n\n[")]
