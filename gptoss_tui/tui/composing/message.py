"""Messages with attachments, in the format shared by all front ends: see `agent/attached.py`."""

from __future__ import annotations

from gptoss_tui.agent.attached import MARKER, Note, join_message, note_block, split_message

__all__ = ["MARKER", "Note", "join_message", "note_block", "split_message"]
