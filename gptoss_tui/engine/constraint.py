"""Which tokens may come next: a finite automaton over token ids, as plain data, and a walk through it.

An engine with access to the logits consults the walk before it chooses a token, so what the automaton forbids cannot be
sampled. Where text must follow a grammar, the walk asks a matcher, which only the worker has. Does not import torch:
whatever builds an automaton can also follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from gptoss_tui.errors import GrammarError

GrammarKind = Literal["json_schema", "regex", "choice", "lark", "patch"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """A restriction on a whole text.

    `text` depends on the kind. `json_schema`: the schema as JSON. `choice`: a JSON list of texts. `regex` and `lark`:
    an expression or a grammar in llguidance's dialect. `patch`: see `engine.grammar.patch`.
    """

    kind: GrammarKind
    text: str


class Matcher(Protocol):
    """A position in a text that follows a grammar."""

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        ...

    @property
    def waits(self) -> bool:
        """Whether the grammar does not cover what follows: the generation pauses until it gets another grammar."""
        ...

    def mask(self) -> bytes:
        """A bit for each token id, lowest first: whether it may come next. Ids beyond the end may not."""
        ...

    def advance(self, token_id: int) -> None:
        """Move on by a token that the mask allowed."""
        ...


@dataclass(frozen=True, slots=True)
class TokenState:
    """`following` maps each id that leaves this state to the index of the next state.

    `text`: all text is allowed as well and stays in this state; special tokens only if `following` names them. With
    `grammar`, an index into the automaton's grammars, only text that this grammar allows may come, and `following`
    applies only where the text may end. The walk stores the resulting tokens at one position in `mask` (in the form of
    `Matcher.mask`). A state with neither text nor `following` is final: what comes after it is not restricted.
    """

    following: Mapping[int, int]
    text: bool = False
    grammar: int | None = None
    mask: bytes | None = None

    def allows(self, token: int) -> bool:
        """Whether a token of the vocabulary may come next. Needs a state with a mask."""
        if token in self.following:
            return True
        return self.mask is not None and token >> 3 < len(self.mask) and bool(self.mask[token >> 3] >> (token & 7) & 1)


@dataclass(frozen=True, slots=True)
class TokenAutomaton:
    """States by index, and the index of the first. `written` are tokens that its grammar has already consumed."""

    states: tuple[TokenState, ...]
    start: int = 0
    grammars: tuple[Grammar, ...] = ()
    written: tuple[int, ...] = ()


class Walk:
    """A position in an automaton. `state` None: nothing is restricted any more.

    Without `open_matcher`, a state with a grammar allows all text: for callers that only follow and do not choose.
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
        """What may come next, or None without restriction."""
        if self._at is None:
            return None
        if self._now is None:
            state = self._automaton.states[self._at]
            self._now = state if self._matcher is None else _within(state, self._matcher)
        return self._now if self._now.text or self._now.following else None

    @property
    def paused(self) -> bool:
        """Whether the generation must pause here because the grammar waits for another one."""
        return self._matcher is not None and self._matcher.waits

    @property
    def grammar(self) -> Grammar | None:
        """The grammar that the text at this position must follow."""
        index = None if self._at is None else self._automaton.states[self._at].grammar
        return None if index is None else self._automaton.grammars[index]

    @property
    def written(self) -> tuple[int, ...]:
        """The tokens of the current text, if it must follow a grammar."""
        return tuple(self._written)

    @property
    def rest(self) -> TokenAutomaton | None:
        """The automaton from here on."""
        return None if self._at is None else replace(self._automaton, start=self._at, written=self.written)

    def rest_with(self, grammar: Grammar) -> TokenAutomaton | None:
        """The automaton from here on, with another grammar for the current text. None if that text has no grammar."""
        index = None if self._at is None else self._automaton.states[self._at].grammar
        if index is None:
            return None
        grammars = list(self._automaton.grammars)
        grammars[index] = grammar
        return replace(self._automaton, start=self._at or 0, grammars=tuple(grammars), written=self.written)

    def advance(self, token_id: int) -> None:
        """Move on by a token. One that is not allowed (chosen without asking) lifts all restrictions."""
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
    """`state` reduced to what its grammar allows at the matcher's position."""
    mask = matcher.mask()
    following = state.following if matcher.complete else {}
    if mask.count(0) < len(mask):
        return replace(state, following=following, mask=mask)
    if not following and not matcher.waits:
        raise GrammarError("The grammar reached a point where nothing can follow", hint="change the grammar")
    return TokenState(following)


def automaton_of(paths: Iterable[tuple[Iterable[int], int]], states: list[TokenState]) -> int:
    """Add a tree of token sequences, each leading to a state in `states`, and return the index of its root.

    Appends to `states`. Sequences that begin alike share states; no sequence may be a prefix of another one.
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
