"""The messages that a model may write, as an automaton over token ids, so that no message header can be malformed.

Only headers are restricted: they consist of a known channel, an available recipient, a content type and `<|message|>`.
Content is free, except that control tokens are only allowed where they belong, and that a grammar may be required. The
automaton accepts the recipient both before and after the channel, and all content types that the models give to calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from gptoss_tui.engine.constraint import Grammar, TokenAutomaton, TokenState, automaton_of
from gptoss_tui.harmony.header import CHANNELS
from gptoss_tui.harmony.tokenizer import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START, Tokenizer

ANALYSIS, COMMENTARY, FINAL = CHANNELS
_CALL_CHANNELS = (ANALYSIS, COMMENTARY)

_STOP, _BETWEEN, _AUTHOR, _TEXT, _CALL, _ANSWER = range(6)
"""The first states: after a stop token, after `<|end|>`, after `<|start|>`, in a message's text, in a call's text, in
the answer."""


def message_automaton(
    tokenizer: Tokenizer,
    recipients: Sequence[str],
    *,
    answer: Grammar | None = None,
    arguments: Mapping[str, Grammar] = MappingProxyType({}),
    thinks: bool = True,
    preambles: bool = True,
    must_call: bool = False,
) -> TokenAutomaton:
    """What may follow `<|start|>assistant`, when only `recipients` (such as `functions.read_file`) can be called.

    With `answer` the turn ends with a call or with one final message, whose text follows that grammar. `arguments` maps
    recipients to grammars for the arguments of their calls. Reasoning is unrestricted; without `thinks` there is none.
    Without `preambles` the model can write nothing to the user except the answer. With `must_call` the turn ends with a
    call, preceded by at most one reasoning message.
    """
    states, grammars = _first_states(answer, must_call=must_call)
    texts = _text_channels(thinks=thinks, preambles=preambles, must_call=must_call)
    said = [([CHANNEL, *tokenizer.encode(channel), MESSAGE], state) for channel, state in texts.items()]
    paths: list[tuple[list[int], int]] = []
    for recipient in recipients:
        text = _CALL
        if recipient in arguments:
            text = len(states)
            states.append(replace(states[_CALL], grammar=len(grammars)))
            grammars.append(arguments[recipient])
        for header in _calls(tokenizer, recipient):
            paths += [([*header, *kind, MESSAGE], text) for kind in _content_types(tokenizer)]
    root = automaton_of(_distinct([*said, *paths]), states)
    (assistant,) = tokenizer.encode("assistant")
    states[_AUTHOR] = TokenState({assistant: automaton_of(_distinct(paths), states) if must_call else root})
    return TokenAutomaton(tuple(states), root, tuple(grammars))


def _first_states(answer: Grammar | None, *, must_call: bool) -> tuple[list[TokenState], list[Grammar]]:
    """The states from `_STOP` to `_ANSWER`, but for what may follow an author, and the grammar of the answer."""
    states = [TokenState({})] * 6
    states[_BETWEEN] = TokenState({START: _AUTHOR})
    states[_TEXT] = states[_ANSWER] = TokenState({END: _BETWEEN, RETURN: _STOP}, text=True)
    states[_CALL] = TokenState({CALL: _STOP}, text=True)
    if answer is not None or must_call:
        states[_TEXT] = TokenState({END: _BETWEEN}, text=True)
    if answer is None:
        return states, []
    states[_ANSWER] = TokenState({RETURN: _STOP}, text=True, grammar=0)
    return states, [answer]


def _text_channels(*, thinks: bool, preambles: bool, must_call: bool) -> dict[str, int]:
    """The channels of messages that are no calls, and the states of their texts."""
    texts = {ANALYSIS: _TEXT} if thinks else {}
    if preambles and not must_call:
        texts[COMMENTARY] = _TEXT
    if not must_call:
        texts[FINAL] = _ANSWER
    return texts


def _calls(tokenizer: Tokenizer, recipient: str) -> Iterable[list[int]]:
    """The headers of a call, up to but excluding the content type."""
    to = tokenizer.encode(f" to={recipient}")
    for channel in _CALL_CHANNELS:
        name = tokenizer.encode(channel)
        yield [*to, CHANNEL, *name]
        yield [CHANNEL, *name, *to]


def _content_types(tokenizer: Tokenizer) -> Iterable[list[int]]:
    yield []
    yield [*tokenizer.encode(" "), CONSTRAIN, *tokenizer.encode("json")]
    yield [CONSTRAIN, *tokenizer.encode("json")]
    for kind in (" json", " code"):
        yield tokenizer.encode(kind)


def _distinct(paths: Iterable[tuple[list[int], int]]) -> Iterable[tuple[list[int], int]]:
    """The paths without duplicate token sequences."""
    return {tuple(ids): (ids, end) for ids, end in paths}.values()
