"""Nothing that the automaton lets through needs to be recovered, and what models write well goes through it."""

from __future__ import annotations

import random

import pytest

from gptoss_tui.agent.automaton import message_automaton
from gptoss_tui.engine.constraint import TokenAutomaton, Walk
from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.parser import MessageFinished, StreamParser
from gptoss_tui.harmony.render import render_message
from gptoss_tui.harmony.tokenizer import CALL, RETURN, START, Tokenizer, load_tokenizer

RECIPIENTS = ("functions.read_file", "functions.read", "browser.search", "browser.open", "python")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(scope="module")
def automaton(tokenizer: Tokenizer) -> TokenAutomaton:
    return message_automaton(tokenizer, RECIPIENTS)


def test_random_walks_are_well_formed(tokenizer: Tokenizer, automaton: TokenAutomaton) -> None:
    """A model without any sense writes headers that the parser reads as they are, to tools that there are."""
    source = random.Random(5)
    words = tokenizer.encode("any text, of course { } <|end|> with 10 words")
    called = set()
    for _ in range(500):
        walk, ids = Walk(automaton), []
        while (state := walk.state) is not None and len(ids) < 60:
            choices = list(state.following)
            token = source.choice(words) if state.text and source.random() < 0.7 else source.choice(choices)
            walk.advance(token)
            ids.append(token)
        parser = StreamParser(tokenizer)
        for event in (*parser.feed(ids), *(() if walk.state else parser.finish())):
            if isinstance(event, MessageFinished):
                assert event.recovered == ()
                assert event.message.role == "assistant"
                assert event.message.recipient in (None, *RECIPIENTS)
                called.add(event.message.recipient)
    assert called == {None, *RECIPIENTS}


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>analysis<|message|>think<|end|><|start|>assistant<|channel|>final<|message|>done<|return|>",
        "<|channel|>commentary<|message|>first I look<|end|><|start|>assistant to=functions.read_file"
        '<|channel|>commentary <|constrain|>json<|message|>{"path": "a"}<|call|>',
        "<|channel|>commentary to=functions.read<|constrain|>json<|message|>{}<|call|>",
        "<|channel|>analysis to=browser.search code<|message|>{}<|call|>",
        " to=python<|channel|>analysis code<|message|>1 + 1<|call|>",
    ],
)
def test_what_models_write_well_is_allowed(tokenizer: Tokenizer, automaton: TokenAutomaton, text: str) -> None:
    """Both places of the recipient, all content types, several messages."""
    walk = Walk(automaton)
    for token in special_ids(tokenizer, text):
        assert walk.state is not None
        assert token in walk.state.following or (walk.state.text and token < 199_998), tokenizer.decode([token])
        walk.advance(token)
    assert walk.state is None


def test_what_we_render_is_allowed(tokenizer: Tokenizer, automaton: TokenAutomaton) -> None:
    """The form that nano learned from."""
    call = Message("assistant", "{}", channel="commentary", recipient="functions.read_file")
    for message in (call, Message("assistant", "x", channel="final")):
        start, author, *ids = render_message(tokenizer, message)
        assert start == START
        walk = Walk(automaton)
        for token in ids[:-1]:
            walk.advance(token)
        assert author == tokenizer.encode("assistant")[0]
        assert walk.state is not None
        assert walk.state.text


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>commentary to=functions.write_file",
        "<|channel|>thoughts",
        " to=functions.read_file<|message|>",
        "<|message|>",
        "Hello",
        "<|channel|>final to=functions.read_file",
        "<|channel|>analysis<|message|>x<|start|>",
        "<|channel|>final<|message|>x<|call|>",
        "<|channel|>final<|message|>x<|end|><|start|>user",
    ],
)
def test_what_is_malformed_is_not(tokenizer: Tokenizer, automaton: TokenAutomaton, text: str) -> None:
    """Unknown tools and channels, no channel, text without a header, control tokens in text, other authors."""
    walk = Walk(automaton)
    allowed = True
    for token in special_ids(tokenizer, text):
        state = walk.state
        allowed = allowed and state is not None and (token in state.following or (state.text and token < 199_998))
        walk.advance(token)
    assert not allowed


def special_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of text in which control tokens are spelled out."""
    from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS

    ids: list[int] = []
    rest = text
    while rest:
        found = [(rest.find(spelled), id, spelled) for id, spelled in SPECIAL_TOKENS.items() if spelled in rest]
        at, special, spelled = min(found, default=(len(rest), None, ""))
        ids += tokenizer.encode(rest[:at])
        if special is not None:
            ids.append(special)
        rest = rest[at + len(spelled) :]
    return ids


def test_a_call_ends_it(automaton: TokenAutomaton) -> None:
    """Behind a stop token nothing is restricted: the engine is asked for nothing more."""
    stops = [state for state in automaton.states if CALL in state.following or RETURN in state.following]
    ends = {state.following[token] for state in stops for token in (CALL, RETURN) if token in state.following}
    assert all(not automaton.states[end].following and not automaton.states[end].text for end in ends)


def test_a_turn_that_must_call_thinks_once_and_calls(tokenizer: Tokenizer) -> None:
    walk = Walk(message_automaton(tokenizer, ["functions.read_file"], must_call=True))
    thought = special_ids(tokenizer, "<|channel|>analysis<|message|>I read.<|end|><|start|>assistant")
    for token in thought:
        assert walk.state is not None
        assert token in walk.state.following or walk.state.text
        walk.advance(token)
    paths = reachable_headers(tokenizer, walk)
    assert paths
    assert all("to=functions.read_file" in path for path in paths)


def test_a_turn_without_thoughts_has_no_channel_for_them(tokenizer: Tokenizer) -> None:
    walk = Walk(message_automaton(tokenizer, ["functions.read_file"], thinks=False))
    headers = reachable_headers(tokenizer, walk)
    assert "<|channel|>final<|message|>" in headers
    assert "<|channel|>analysis<|message|>" not in headers


def test_a_turn_without_preambles_says_nothing_but_the_answer(tokenizer: Tokenizer) -> None:
    walk = Walk(message_automaton(tokenizer, ["functions.read_file"], preambles=False))
    said = {header for header in reachable_headers(tokenizer, walk) if "to=" not in header}
    assert said == {"<|channel|>analysis<|message|>", "<|channel|>final<|message|>"}


def reachable_headers(tokenizer: Tokenizer, walk: Walk) -> list[str]:
    """All headers that may be written from here on."""
    found: list[str] = []

    def follow(rest: TokenAutomaton, ids: list[int]) -> None:
        here = Walk(rest)
        assert here.state is not None
        if here.state.text:
            found.append(tokenizer.decode(ids))
            return
        for token in here.state.following:
            there = Walk(rest)
            there.advance(token)
            assert there.rest is not None
            follow(there.rest, [*ids, token])

    assert walk.rest is not None
    follow(walk.rest, [])
    return found
