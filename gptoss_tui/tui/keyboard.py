"""Keys that terminals send and Textual does not know by itself."""

from __future__ import annotations

from enum import StrEnum

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


class _AltKey(StrEnum):
    """Terminals without the Kitty protocol send Alt with a character as ESC and the character."""

    COMMA = "alt+comma"
    FULL_STOP = "alt+full_stop"
    ENTER = "alt+enter"
    D = "alt+d"


def register_alt_keys() -> None:
    """Let Alt+, Alt+. Alt+Enter and Alt+D arrive as keys of their own in every terminal. Idempotent."""
    known: dict[str, object] = ANSI_SEQUENCES_KEYS  # type: ignore[assignment]
    known.update({"\x1b,": (_AltKey.COMMA,), "\x1b.": (_AltKey.FULL_STOP,)})
    known.update({"\x1b\r": (_AltKey.ENTER,), "\x1bd": (_AltKey.D,)})
