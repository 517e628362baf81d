"""Opens the matcher for any kind of grammar."""

from __future__ import annotations

from gptoss_tui.engine.constraint import Grammar, Matcher, Walk
from gptoss_tui.engine.types import SamplingParams


def open_matcher(grammar: Grammar) -> Matcher:
    """A matcher at the beginning of a text. Raises GrammarError if the grammar cannot be enforced."""
    if grammar.kind == "patch":
        from gptoss_tui.engine.grammar.patch import PatchMatcher

        return PatchMatcher(grammar.text)
    from gptoss_tui.engine.grammar.library import LibraryMatcher

    return LibraryMatcher(grammar)


def new_walk(params: SamplingParams) -> Walk | None:
    """The walk that a generation consults before it chooses tokens; None if nothing is restricted."""
    return None if params.constraint is None else Walk(params.constraint, open_matcher)
