"""Which tokens may come next: a finite automaton over token ids, as data, and a walk through it.

An engine that has the logits asks the walk before it chooses a token, so what the automaton forbids cannot be sampled.
No torch here: whoever makes an automaton can also follow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TokenState:
    """`following` maps the ids that lead on to the index of the state they lead to.

    `text`: all text is allowed as well, and stays here; special tokens only if `following` names them. A state without
    either is an end: what comes behind it is not restricted.
    """

    following: Mapping[int, int]
    text: bool = False


@dataclass(frozen=True, slots=True)
class TokenAutomaton:
    """States by index, and the one to begin in."""

    states: tuple[TokenState, ...]
    start: int = 0


class Walk:
    """A place in an automaton. `state` None: nothing is restricted any more."""

    def __init__(self, automaton: TokenAutomaton) -> None:
        self._automaton = automaton
        self._at: int | None = automaton.start

    @property
    def state(self) -> TokenState | None:
        """What may come next."""
        if self._at is None:
            return None
        state = self._automaton.states[self._at]
        return state if state.text or state.following else None

    @property
    def rest(self) -> TokenAutomaton | None:
        """The automaton from here on."""
        return None if self._at is None else replace(self._automaton, start=self._at)

    def advance(self, token_id: int) -> None:
        """Go on with a token. One that is not allowed (nobody asked before it was chosen) ends all restriction."""
        state = self.state
        if self._at is None or state is None:
            self._at = None
        elif (following := state.following.get(token_id)) is not None:
            self._at = following
        elif not state.text:
            self._at = None


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
