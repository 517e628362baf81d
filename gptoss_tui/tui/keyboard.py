"""Keys that terminals send but Textual does not recognise on its own."""

from __future__ import annotations

from enum import StrEnum

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


class _AltKey(StrEnum):
    """Alt with a character, which terminals without the Kitty protocol send as ESC followed by the character."""

    COMMA = "alt+comma"
    FULL_STOP = "alt+full_stop"
    ENTER = "alt+enter"
    D = "alt+d"


def register_alt_keys() -> None:
    """Make Alt+, Alt+. Alt+Enter and Alt+D arrive as single keys in every terminal. Idempotent."""
    known: dict[str, object] = ANSI_SEQUENCES_KEYS  # type: ignore[assignment]
    known.update({"\x1b,": (_AltKey.COMMA,), "\x1b.": (_AltKey.FULL_STOP,)})
    known.update({"\x1b\r": (_AltKey.ENTER,), "\x1bd": (_AltKey.D,)})
