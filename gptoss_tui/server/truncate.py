"""Truncates dialogues that are too long by dropping the oldest turns, for `truncation: "auto"`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from gptoss_tui.harmony.messages import Message
from gptoss_tui.server.dialogue import Dialogue
from gptoss_tui.server.errors import ApiError
from gptoss_tui.server.turn import Turn


def without_first_turns(dialogue: Dialogue, characters: int) -> Dialogue:
    """Drop the oldest turns until the dialogue has at most `characters` characters; the last turn always stays."""
    messages = dialogue.messages
    behind = list(accumulate(len(message.content) for message in reversed(messages)))[::-1]
    cuts = _cuts(messages)
    cut = next((cut for cut in cuts if cut < len(messages) and behind[cut] <= characters), cuts[-1])
    return replace(dialogue, messages=messages[cut:])


def turn_that_fits(make: Callable[[Dialogue], Turn], dialogue: Dialogue) -> Turn:
    """Make the turn for the dialogue, dropping as many of its oldest turns as necessary.

    Raises ApiError if the last turn alone is too long.
    """
    cuts = _cuts(dialogue.messages)
    # If a cut fits, all later ones do too, so the first cut that fits can be found by bisection.
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


def _cuts(messages: Sequence[Message]) -> list[int]:
    """The indices where turns begin, with 0 for the first."""
    begins = [index for index, message in enumerate(messages) if message.role == "user"]
    return [0, *begins[1:]]


def _try(make: Callable[[Dialogue], Turn], dialogue: Dialogue, cut: int) -> Turn:
    return make(replace(dialogue, messages=dialogue.messages[cut:]))
