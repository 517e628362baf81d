"""Grammars of every kind over real tokens: what they let through, where they end, and what they refuse."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import torch

from gptoss_tui.agent.automaton import message_automaton
from gptoss_tui.engine.constraint import Grammar, TokenState, Walk
from gptoss_tui.engine.grammar.library import LibraryMatcher, check_grammar
from gptoss_tui.engine.grammar.matcher import open_matcher
from gptoss_tui.engine.torch.sampling import new_generator, sample
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.engine.worker.protocol import Generate, decode_request, encode_request
from gptoss_tui.errors import EngineError, GrammarError
from gptoss_tui.harmony.tokenizer import CALL, CHANNEL, END, MESSAGE, RETURN, Tokenizer, load_tokenizer
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, VOCAB_SIZE

POINT = Grammar("json_schema", '{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}')


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


def allowed(mask: bytes) -> set[int]:
    return {8 * at + bit for at, byte in enumerate(mask) if byte for bit in range(8) if byte >> bit & 1}


def accepts(tokenizer: Tokenizer, grammar: Grammar, text: str) -> bool:
    """Whether the mask allows every token of `text`, and its end."""
    matcher = LibraryMatcher(grammar)
    for token in tokenizer.encode(text):
        if token not in allowed(matcher.mask()):
            return False
        matcher.advance(token)
    return matcher.complete


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (POINT, '{"x": 12}', '{"y": 12}'),
        (POINT, '{\n  "x": 12\n}', '{"x": 1.5}'),
        (Grammar("regex", r"\d{3}-[a-z]+"), "123-abc", "12-abc"),
        (Grammar("choice", '["yes", "no", "say \\"é\\""]'), 'say "é"', "maybe"),
        (Grammar("lark", 'start: "a" b+\nb: "<" /[0-9]/ ">"'), "a<1><2>", "a<1"),
    ],
)
def test_each_kind_is_followed(tokenizer: Tokenizer, grammar: Grammar, good: str, bad: str) -> None:
    assert accepts(tokenizer, grammar, good)
    assert not accepts(tokenizer, grammar, bad)


def test_any_tokens_of_an_accepted_text_are_accepted(tokenizer: Tokenizer) -> None:
    """Not only the canonical ones: a text is its bytes, however the model cuts them."""
    single = {tokenizer.token_bytes(token): token for token in range(NUM_TEXT_TOKENS)}
    text = b'{"x": -1234567}'
    source = random.Random(3)
    for _ in range(20):
        matcher, at = LibraryMatcher(POINT), 0
        while at < len(text):
            ends = [end for end in range(at + 1, len(text) + 1) if text[at:end] in single]
            mask = allowed(matcher.mask())
            choices = [end for end in ends if single[text[at:end]] in mask]
            end = source.choice(choices)
            matcher.advance(single[text[at:end]])
            at = end
        assert matcher.complete


def test_no_special_token_is_ever_in_a_mask() -> None:
    for grammar in (POINT, Grammar("regex", "(?s:.*)")):
        matcher = LibraryMatcher(grammar)
        assert max(allowed(matcher.mask())) < NUM_TEXT_TOKENS


def test_a_text_that_can_only_end_ends(tokenizer: Tokenizer) -> None:
    matcher = LibraryMatcher(Grammar("choice", '["yes"]'))
    for token in tokenizer.encode("yes"):
        assert not matcher.complete
        matcher.advance(token)
    assert matcher.complete
    assert allowed(matcher.mask()) == set()


@pytest.mark.parametrize(
    ("grammar", "what"),
    [
        (Grammar("json_schema", '{"not": {}}'), "not"),
        (Grammar("json_schema", '{"type": "array", "uniqueItems": true}'), "uniqueItems"),
        (Grammar("json_schema", '{"$ref": "http://example.com/x"}'), "example.com"),
        (Grammar("json_schema", "{"), "JSON"),
        (Grammar("json_schema", '{"enum": []}'), "Unsatisfiable"),
        (Grammar("regex", "(a"), "unclosed"),
        (Grammar("lark", "start: nothing"), "nothing"),
        (Grammar("choice", "[]"), "at least one"),
        (Grammar("choice", "[1]"), "text"),
    ],
)
def test_what_cannot_be_enforced_is_refused_in_words(grammar: Grammar, what: str) -> None:
    with pytest.raises(GrammarError, match=what) as caught:
        check_grammar(grammar)
    assert "cannot be enforced" in caught.value.message
    with pytest.raises(GrammarError):
        LibraryMatcher(grammar)


def chain(length: int, link: dict[str, Any] | None) -> str:
    """A schema of so many definitions, each of which is the next one, or has it where `link` has `...`."""
    definitions: dict[str, Any] = {}
    for number in range(length):
        reference: dict[str, Any] = {"$ref": f"#/$defs/{number + 1}"}
        definitions[str(number)] = (
            reference if link is None else json.loads(json.dumps(link).replace('"..."', json.dumps(reference)))
        )
    definitions[str(length)] = {"type": "null"}
    return json.dumps({"$ref": "#/$defs/0", "$defs": definitions})


DEEP = {
    "references": Grammar("json_schema", chain(6000, None)),
    "properties": Grammar(
        "json_schema", chain(2500, {"type": "object", "properties": {"x": "..."}, "required": ["x"]})
    ),
    "alternatives": Grammar("json_schema", chain(2500, {"anyOf": [{"allOf": ["..."]}, {"type": "string"}]})),
    "rules": Grammar("lark", "start: r0\n" + "".join(f"r{n}: r{n + 1}\n" for n in range(6000)) + 'r6000: "x"'),
    "terminals": Grammar("lark", "start: T0\n" + "".join(f'T{n}: T{n + 1} "y"\n' for n in range(3000)) + 'T3000: "x"'),
    "arrays in arrays": Grammar("json_schema", '{"type":"array","items":' * 20000 + "{}" + "}" * 20000),
    "brackets": Grammar("lark", "start: " + "(" * 50000 + '"x"' + ")" * 50000),
    "groups": Grammar("regex", "(" * 50000 + "x" + ")" * 50000),
}


@pytest.mark.parametrize("name", DEEP)
def test_no_depth_of_a_grammar_ends_the_process(name: str) -> None:
    """It is read or refused in words that are short; in a thread, as the worker and the server do it."""

    def read() -> str:
        try:
            check_grammar(DEEP[name])
            LibraryMatcher(DEEP[name]).mask()
        except GrammarError as error:
            return error.message
        return ""

    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(read).result()) < 600


def test_what_is_too_long_is_not_read() -> None:
    """Half a million characters are enough."""
    many = Grammar("choice", json.dumps([f"choice {number}" for number in range(50_000)]))
    with pytest.raises(GrammarError, match="characters"):
        check_grammar(many)
    with pytest.raises(GrammarError, match="characters"):
        LibraryMatcher(many)


UNSATISFIABLE = [
    Grammar("json_schema", '{"$ref": "#"}'),
    Grammar("json_schema", '{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}'),
    Grammar("lark", 'start: start "a"'),
]


@pytest.mark.parametrize("grammar", UNSATISFIABLE, ids=["itself", "each other", "left recursion"])
def test_a_grammar_without_a_text_is_an_error_of_the_grammar(grammar: Grammar) -> None:
    with pytest.raises(GrammarError, match="nothing may follow"):
        LibraryMatcher(grammar).mask()


@pytest.mark.parametrize("text", ["word " * 250, "a" * 1500, "ü" * 700], ids=["words", "one word", "other letters"])
def test_a_long_text_that_is_forced_is_written_token_by_token(text: str, tokenizer: Tokenizer) -> None:
    matcher = LibraryMatcher(Grammar("choice", json.dumps([text])))
    said: list[int] = []
    while not matcher.complete:
        said.append(next(iter(allowed(matcher.mask()))))
        matcher.advance(said[-1])
    assert tokenizer.decode(said) == text
    assert len(said) <= len(tokenizer.encode(text)) + 10, "in tokens that the model knows it by"


@pytest.mark.parametrize("pattern", ["(a{1000}){1000}", "((a{1000}){1000}){1000}", "(a{1,250}){1,250}"])
def test_no_repetition_keeps_the_engine_for_minutes(pattern: str) -> None:
    """What is forced is a million letters; whether it can be followed to its end or not, it is known soon."""
    matcher = LibraryMatcher(Grammar("regex", pattern))
    with suppress(GrammarError):
        for _ in range(5):
            matcher.advance(max(allowed(matcher.mask())))


def test_a_token_against_the_grammar_stops_the_generation(tokenizer: Tokenizer) -> None:
    matcher = LibraryMatcher(POINT)
    with pytest.raises(EngineError, match="could not be followed"):
        matcher.advance(tokenizer.encode("[")[0])


# -- in the automaton of messages -------------------------------------------------------------------------------------


def ids(tokenizer: Tokenizer, channel: str, text: str) -> list[int]:
    return [CHANNEL, *tokenizer.encode(channel), MESSAGE, *tokenizer.encode(text)]


def test_thoughts_are_free_and_the_answer_is_not(tokenizer: Tokenizer) -> None:
    automaton = message_automaton(tokenizer, [], answer=POINT)
    walk = Walk(automaton, open_matcher)
    for token in ids(tokenizer, "analysis", "no JSON here"):
        walk.advance(token)
    assert walk.state == TokenState({END: 1}, text=True)
    assert RETURN not in walk.state.following, "without an answer the turn does not end"
    walk = Walk(automaton, open_matcher)
    for token in ids(tokenizer, "final", '{"x": 1'):
        walk.advance(token)
    assert walk.state is not None
    assert walk.state.following == {}
    assert walk.state.mask is not None
    assert tokenizer.encode("}")[0] in allowed(walk.state.mask)
    walk.advance(tokenizer.encode("}")[0])
    assert set(walk.state.following) == {RETURN}
    walk.advance(RETURN)
    assert walk.state is None


def test_only_the_calls_that_asked_for_it_are_strict(tokenizer: Tokenizer) -> None:
    automaton = message_automaton(tokenizer, ["functions.a", "functions.b"], arguments={"functions.a": POINT})
    for name, strict in (("a", True), ("b", False)):
        walk = Walk(automaton, open_matcher)
        for token in ids(tokenizer, f"commentary to=functions.{name}", ""):
            walk.advance(token)
        assert walk.state is not None
        assert (walk.state.mask is not None) == strict
        assert (CALL in walk.state.following) != strict, "an empty text is no arguments"


def test_a_generation_goes_on_where_another_was_cut(tokenizer: Tokenizer) -> None:
    """What was written travels with the rest of the automaton, to the worker too."""
    walk = Walk(message_automaton(tokenizer, [], answer=POINT))
    for token in ids(tokenizer, "final", '{"x"'):
        walk.advance(token)
    assert walk.state is not None
    assert walk.state.mask is None, "who only follows needs no vocabulary"
    request = Generate(1, (5,), SamplingParams(constraint=walk.rest))
    assert decode_request(encode_request(request)[4:]) == request
    assert walk.rest is not None
    there = Walk(walk.rest, open_matcher)
    assert there.state is not None
    assert there.state.mask is not None
    texts = {tokenizer.decode([token]) for token in allowed(there.state.mask)}
    assert all(text.strip().startswith(":") or not text.strip() for text in texts)


@pytest.mark.parametrize(
    "params", [SamplingParams(temperature=0.0), SamplingParams(temperature=2.0, seed=1, top_p=0.9)]
)
@pytest.mark.parametrize("many", [False, True])
def test_only_what_the_mask_allows_is_sampled(params: SamplingParams, many: bool) -> None:
    ids = range(0, NUM_TEXT_TOKENS, 3) if many else (7, 3000)
    mask = bytearray(-(-NUM_TEXT_TOKENS // 8))
    for token in ids:
        mask[token >> 3] |= 1 << (token & 7)
    logits = torch.randn(VOCAB_SIZE, generator=torch.Generator().manual_seed(1))
    logits[1] = 50.0
    generator = new_generator(1, torch.device("cpu"))
    for _ in range(10):
        state = TokenState({END: 0}, text=True, mask=bytes(mask))
        assert sample(logits, params, generator, state).id in {*ids, END}
    logits[END] = 90.0
    assert sample(logits, params, generator, state).id == END
    assert sample(logits, params, generator, TokenState({}, text=True, mask=bytes(mask))).id in ids


def test_a_choice_is_read_as_json() -> None:
    with pytest.raises(GrammarError):
        check_grammar(Grammar("choice", json.dumps({"yes": 1})))
