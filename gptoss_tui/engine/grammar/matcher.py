"""The matcher of a grammar, whatever its kind."""

from __future__ import annotations

from gptoss_tui.engine.constraint import Grammar, Matcher, Walk
from gptoss_tui.engine.types import SamplingParams


def open_matcher(grammar: Grammar) -> Matcher:
    """At the beginning of a text. Raises GrammarError when the grammar says nothing that can be followed."""
    if grammar.kind == "patch":
        from gptoss_tui.engine.grammar.patch import PatchMatcher

        return PatchMatcher(grammar.text)
    from gptoss_tui.engine.grammar.library import LibraryMatcher

    return LibraryMatcher(grammar)


def new_walk(params: SamplingParams) -> Walk | None:
    """The walk that a generation asks before it chooses; None when nothing is restricted."""
    return None if params.constraint is None else Walk(params.constraint, open_matcher)
