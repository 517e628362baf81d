"""The special tokens that conversations use. A module without torch."""

from __future__ import annotations

USED_SPECIAL_TOKENS = (200_002, 200_003, 200_005, 200_006, 200_007, 200_008, 200_012)
"""Return, constrain, channel, start, end, message, call. Other rows above the text have weights but no meaning."""
