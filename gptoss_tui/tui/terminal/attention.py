"""Getting the user's attention: the bell, or a desktop notification through the terminal (OSC 9, OSC 777)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Way = Literal["osc9", "osc777", "bell", "off"]

MAX_TEXT = 200
_OSC_9 = ("iTerm.app", "WezTerm", "ghostty", "kitty", "WarpTerminal", "vscode", "rio")
_OSC_777 = ("rxvt", "foot", "contour")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f;]+")


def best_way(environ: Mapping[str, str]) -> Way:
    """The best way that the terminal is known to support; otherwise the bell."""
    program, term = environ.get("TERM_PROGRAM", ""), environ.get("TERM", "")
    if environ.get("TMUX") or term.startswith(("screen", "tmux")):
        return "bell"  # a multiplexer shows which window rang, and would not let notifications through
    if program in _OSC_9 or environ.get("KITTY_WINDOW_ID") or environ.get("WT_SESSION") or "kitty" in term:
        return "osc9"
    if term.startswith(_OSC_777) or environ.get("VTE_VERSION"):
        return "osc777"
    return "bell"


def call(way: Way, title: str, body: str) -> str:
    """The sequence that sends a notification. Text is truncated and cannot end the sequence."""
    title, body = (_UNSAFE.sub(" ", text).strip()[:MAX_TEXT] for text in (title, body))
    match way:
        case "osc9":
            return f"\x1b]9;{title}: {body}\x07"
        case "osc777":
            return f"\x1b]777;notify;{title};{body}\x07\x07"
        case "bell":
            return "\x07"
        case "off":
            return ""


def window_title(text: str) -> str:
    """The sequence that sets the window's title."""
    return f"\x1b]0;{_UNSAFE.sub(' ', text).strip()[:MAX_TEXT]}\x07"


SAVE_TITLE, RESTORE_TITLE = "\x1b[22;0t", "\x1b[23;0t"
