"""Keys that terminals send and Textual does not know by itself."""

from __future__ import annotations

from enum import StrEnum

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


class _AltKey(StrEnum):
    """Terminals without the Kitty protocol send Alt with punctuation as ESC and the character."""

    COMMA = "alt+comma"
    FULL_STOP = "alt+full_stop"
    ENTER = "alt+enter"


def register_alt_keys() -> None:
    """Let Alt+, Alt+. and Alt+Enter arrive as keys of their own in every terminal. Idempotent."""
    known: dict[str, object] = ANSI_SEQUENCES_KEYS  # type: ignore[assignment]
    known.update({"\x1b,": (_AltKey.COMMA,), "\x1b.": (_AltKey.FULL_STOP,), "\x1b\r": (_AltKey.ENTER,)})
