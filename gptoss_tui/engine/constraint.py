"""Which tokens may come next: a finite automaton over token ids, as data, and a walk through it.

An engine that has the logits asks the walk before it chooses a token, so what the automaton forbids cannot be sampled.
Where text has to follow a grammar, the walk asks a matcher, which only the worker has. No torch here: whoever makes an
automaton can also follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from gptoss_tui.errors import GrammarError

GrammarKind = Literal["json_schema", "regex", "choice", "lark", "patch"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a whole text may be.

    `text` is for `json_schema` the schema as JSON, for `choice` a JSON list of texts, for `regex` and `lark` what their
    names say in the dialect of llguidance, and for `patch` what `engine.grammar.patch` makes of a workspace.
    """

    kind: GrammarKind
    text: str


class Matcher(Protocol):
    """A place in a text that follows a grammar."""

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        ...

    @property
    def waits(self) -> bool:
        """Whether the grammar says nothing about what follows: the generation pauses for another grammar."""
        ...

    def mask(self) -> bytes:
        """A bit for each token id, lowest first: whether it may come next. Ids behind the end may not."""
        ...

    def advance(self, token_id: int) -> None:
        """Go on with a token that the mask allowed."""
        ...


@dataclass(frozen=True, slots=True)
class TokenState:
    """`following` maps the ids that lead on to the index of the state they lead to.

    `text`: all text is allowed as well, and stays here; special tokens only if `following` names them. With `grammar`,
    an index of the automaton's, it is only text that this grammar allows, and `following` counts only where the text
    may end. What that comes to at one place is in `mask` (as of `Matcher.mask`), which a walk fills in. A state without
    text and `following` is an end: what comes behind it is not restricted.
    """

    following: Mapping[int, int]
    text: bool = False
    grammar: int | None = None
    mask: bytes | None = None

    def allows(self, token: int) -> bool:
        """Whether a token that is in the vocabulary may come next, where the state has a mask."""
        if token in self.following:
            return True
        return self.mask is not None and token >> 3 < len(self.mask) and bool(self.mask[token >> 3] >> (token & 7) & 1)


@dataclass(frozen=True, slots=True)
class TokenAutomaton:
    """States by index, and the one to begin in. `written` are the tokens that its grammar has read already."""

    states: tuple[TokenState, ...]
    start: int = 0
    grammars: tuple[Grammar, ...] = ()
    written: tuple[int, ...] = ()


class Walk:
    """A place in an automaton. `state` None: nothing is restricted any more.

    Without `open_matcher` the text of a state with a grammar is all text: for those who follow and do not choose.
    """

    def __init__(self, automaton: TokenAutomaton, open_matcher: Callable[[Grammar], Matcher] | None = None) -> None:
        self._automaton = automaton
        self._open_matcher = open_matcher
        self._at: int | None = automaton.start
        self._written = list(automaton.written)
        self._now: TokenState | None = None
        self._matcher = self._opened()
        if self._matcher is not None:
            for token in automaton.written:
                self._matcher.advance(token)

    @property
    def state(self) -> TokenState | None:
        """What may come next."""
        if self._at is None:
            return None
        if self._now is None:
            state = self._automaton.states[self._at]
            self._now = state if self._matcher is None else _within(state, self._matcher)
        return self._now if self._now.text or self._now.following else None

    @property
    def paused(self) -> bool:
        """Whether the generation has to end here, because the grammar waits for another one."""
        return self._matcher is not None and self._matcher.waits

    @property
    def grammar(self) -> Grammar | None:
        """What the text here has to follow."""
        index = None if self._at is None else self._automaton.states[self._at].grammar
        return None if index is None else self._automaton.grammars[index]

    @property
    def written(self) -> tuple[int, ...]:
        """The tokens of the text here, where it has to follow a grammar."""
        return tuple(self._written)

    @property
    def rest(self) -> TokenAutomaton | None:
        """The automaton from here on."""
        return None if self._at is None else replace(self._automaton, start=self._at, written=self.written)

    def rest_with(self, grammar: Grammar) -> TokenAutomaton | None:
        """The automaton from here on, with another grammar for the text here. None where there is no such text."""
        index = None if self._at is None else self._automaton.states[self._at].grammar
        if index is None:
            return None
        grammars = list(self._automaton.grammars)
        grammars[index] = grammar
        return replace(self._automaton, start=self._at or 0, grammars=tuple(grammars), written=self.written)

    def advance(self, token_id: int) -> None:
        """Go on with a token. One that is not allowed (nobody asked before it was chosen) ends all restriction."""
        state = None if self._at is None else self._automaton.states[self._at]
        self._now = None
        if state is None or not (state.text or state.following):
            self._at = None
        elif (following := state.following.get(token_id)) is not None:
            self._at = following
            self._written.clear()
            self._matcher = self._opened()
        elif not state.text:
            self._at = None
        elif state.grammar is not None:
            self._written.append(token_id)
            if self._matcher is not None:
                self._matcher.advance(token_id)

    def _opened(self) -> Matcher | None:
        grammar = self.grammar
        return self._open_matcher(grammar) if self._open_matcher and grammar is not None else None


def _within(state: TokenState, matcher: Matcher) -> TokenState:
    """What of `state` its grammar allows at one place."""
    mask = matcher.mask()
    following = state.following if matcher.complete else {}
    if mask.count(0) < len(mask):
        return replace(state, following=following, mask=mask)
    if not following and not matcher.waits:
        raise GrammarError("The grammar reached a point where nothing can follow", hint="change the grammar")
    return TokenState(following)


def automaton_of(paths: Iterable[tuple[Iterable[int], int]], states: list[TokenState]) -> int:
    """Add a tree of token sequences, each of which leads to a state of `states`, and return its root's index.

    `states` grows. Sequences that begin alike share their states; none may be the beginning of another one.
    """
    tree: dict[int, object] = {}
    for ids, end in paths:
        *before, last = ids
        node = tree
        for token in before:
            child = node.setdefault(token, {})
            assert isinstance(child, dict)
            node = child
        node[last] = end
    return _add(tree, states)


def _add(tree: dict[int, object], states: list[TokenState]) -> int:
    following = {
        token: child if isinstance(child, int) else _add(child, states)  # type: ignore[arg-type]
        for token, child in tree.items()
    }
    states.append(TokenState(following))
    return len(states) - 1
