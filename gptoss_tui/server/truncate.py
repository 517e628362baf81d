"""Making a dialogue fit: what was said first is left out, whole turns at a time, as `truncation: "auto"` asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gptoss_tui.server.dialogue import Dialogue
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.turn import Turn


def turn_that_fits(make: Callable[[Dialogue], Turn], dialogue: Dialogue) -> Turn:
    """The turn of the dialogue, without as many of its first turns as must go.

    Raises ApiError when the last one alone is too long.
    """
    begins = [index for index, message in enumerate(dialogue.messages) if message.role == "user"]
    cuts = [0, *begins[1:]]
    # What fits without a turn fits without the next one as well, so the first cut that fits can be found by halving.
    low, high = 0, len(cuts) - 1
    best = _try(make, dialogue, cuts[high])
    while low < high:
        middle = (low + high) // 2
        try:
            best, high = _try(make, dialogue, cuts[middle]), middle
        except ApiError as error:
            if error.code != "context_length_exceeded":
                raise
            low = middle + 1
    return best


def _try(make: Callable[[Dialogue], Turn], dialogue: Dialogue, cut: int) -> Turn:
    return make(replace(dialogue, messages=dialogue.messages[cut:]))
