"""What is attached to a message: the files that it mentions, and the output of the user's own commands.

A text file that is small compared with the context is attached in full, in the format of `read_file`, so that the model
needs no step to read it. Larger files, folders and files that are not text are only named: the model reads what it
needs of them with its tools. A mention that names nothing is plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gptoss_tui.patch.confine import PathError, Tree, describe
from gptoss_tui.patch.text import NotTextError, decode
from gptoss_tui.tools.formats import format_read
from gptoss_tui.tools.workspace import shown
from gptoss_tui.tui.composing.mentions import find_mentions
from gptoss_tui.tui.composing.message import Note, join_message, note_block

MAX_CHARS = 48_000
CONTEXT_SHARE = 4
"""Attachments of one message may use at most 1/CONTEXT_SHARE of the context."""
CHARS_PER_TOKEN = 3


def room_for(context: int) -> int:
    """How many characters may be attached to one message, given a context of `context` tokens (0 if unknown)."""
    return min(MAX_CHARS, context * CHARS_PER_TOKEN // CONTEXT_SHARE) if context else MAX_CHARS


def mentioned_paths(text: str) -> list[str]:
    """The paths that a prompt mentions, without duplicates."""
    return list(dict.fromkeys(mention.path for mention in find_mentions(text)))


def compose(text: str, root: Path, notes: Sequence[Note], room: int) -> str:
    """The message to send, with its attachments. Reads files, so call it in a thread."""
    blocks = [note_block(note, room // 2) for note in notes]
    left = room - sum(map(len, blocks))
    try:
        with Tree(root) as tree:
            for path in mentioned_paths(text):
                block = _file_block(tree, path, left)
                if block:
                    blocks.append(block)
                    left -= len(block)
    except PathError:
        pass  # the workspace is gone, so the mentions stay plain text
    return join_message(text, blocks)


def _file_block(tree: Tree, raw: str, room: int) -> str:
    """The block for one mention; empty when it names nothing in the workspace."""
    try:
        path = tree.resolve(raw)
        status = None if path == "." else tree.stat(path)
    except PathError:
        return ""
    if status is None:
        return ""
    what = describe(status)
    if what == "a folder":
        return f"[{shown(path)}/: a folder; list_files lists it]"
    if status.st_size > room:
        return f"[{shown(path)}: {status.st_size} bytes, too large to attach; read_file reads parts of it]"
    try:
        data, _ = tree.read(path)
        lines = [shown(line) for line in decode(data).lines]
    except (PathError, NotTextError):
        return f"[{shown(path)}: not a text file that can be read; not attached]"
    return format_read(shown(path), lines, start=1, total=len(lines))
