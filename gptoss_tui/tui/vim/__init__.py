"""Vim keys in the composer: what they mean for a text, independent of any widget."""

from __future__ import annotations

TABLE = (
    ("Esc", "Normal mode; from there, what Esc does otherwise"),
    ("i I a A o O", "Insert mode"),
    ("h j k l w b e W B E", "Motions; j and k also step through earlier prompts"),
    ("0 ^ $ gg G", "Ends of the line and of the text"),
    ("f F t T ; ,", "To a character on the line, and on from it"),
    ("d c y", "Delete, change, copy: with a motion, an object, or doubled"),
    ('iw aw i" a( i[ …', "Objects: words, quoted text, text in brackets"),
    ("x X D C s S r ~ J", "Small changes"),
    ("p P", "Insert what was deleted or copied"),
    ("u Ctrl+R .", "Undo, redo, repeat"),
    ("v V", "Select"),
    ("/", "Search all earlier prompts"),
)
"""The keys and their meanings, for the help."""
