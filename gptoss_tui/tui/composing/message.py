"""Messages with attachments, in the format shared by all front ends: see `agent/attached.py`."""

from __future__ import annotations

from gptoss_tui.agent.attached import MARKER, RAN, Note, join_message, note_block, split_message

__all__ = ["MARKER", "Note", "join_message", "note_block", "people_say", "split_message"]


def people_say(title: str) -> str:
    """The title of an attachment for the user's eyes: a command of theirs as they typed it."""
    return f"! {title.removeprefix(RAN)}" if title.startswith(RAN) else title
