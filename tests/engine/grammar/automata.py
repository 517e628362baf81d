"""An automaton with a grammar whose tokens all have small ids, for models of small vocabularies."""

from __future__ import annotations

from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, TokenState

OPEN, CLOSE = 77, 9
DIGITS = range(15, 25)
"""The ids of the digits."""


def number_in_brackets() -> TokenAutomaton:
    """Two free tokens of one choice each, three or four digits, and a token that ends them."""
    inside = TokenState({CLOSE: 3}, text=True, grammar=0)
    states = (TokenState({OPEN: 1}), TokenState({OPEN: 2}), inside, TokenState({}))
    return TokenAutomaton(states, grammars=(Grammar("regex", "[0-9]{3,4}"),))


def is_number_in_brackets(tokens: list[int]) -> bool:
    """Whether the automaton was followed."""
    first, second, *digits, last = tokens
    return first == second == OPEN and last == CLOSE and len(digits) in (3, 4) and set(digits) <= set(DIGITS)
