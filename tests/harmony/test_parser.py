from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.parser import (
    HEADER_LIMIT,
    ContentDelta,
    MessageFinished,
    MessageStarted,
    StreamParser,
    normalize_recipient,
)
from gptoss_tui.harmony.render import render_message
from gptoss_tui.harmony.tokenizer import (
    CALL,
    CHANNEL,
    CONSTRAIN,
    END,
    MESSAGE,
    RETURN,
    SPECIAL_TOKENS,
    START,
    Tokenizer,
)
from gptoss_tui.vocabulary import VOCAB_SIZE
from tests.harmony.wire import check_order, merge_deltas, parse, parse_messages, wire

WELL_FORMED = [
    ("<|channel|>final<|message|>Hi<|return|>", "final", None, None, "return"),
    ("<|channel|>analysis<|message|>Hm<|end|>", "analysis", None, None, "end"),
    ("<|channel|>commentary<|message|>I will look.<|end|>", "commentary", None, None, "end"),
    ("<|channel|>final json<|message|>{}<|return|>", "final", None, "json", "return"),
    ("<|channel|>final <|constrain|>json<|message|>{}<|return|>", "final", None, "<|constrain|>json", "return"),
    ("<|channel|>commentary to=functions.x<|message|>{}<|call|>", "commentary", "functions.x", None, "call"),
    ("<|channel|>analysis to=python code<|message|>1<|call|>", "analysis", "python", "code", "call"),
    (
        "<|channel|>commentary to=functions.x <|constrain|>json<|message|>{}<|call|>",
        "commentary",
        "functions.x",
        "<|constrain|>json",
        "call",
    ),
    (
        " to=functions.x<|channel|>commentary<|constrain|>json<|message|>{}<|call|>",
        "commentary",
        "functions.x",
        "<|constrain|>json",
        "call",
    ),
    (
        " to=functions.mcp-a.b/c:d<|channel|>analysis<|message|>{}<|call|>",
        "analysis",
        "functions.mcp-a.b/c:d",
        None,
        "call",
    ),
]


@pytest.mark.parametrize(("text", "channel", "recipient", "content_type", "stop"), WELL_FORMED)
def test_well_formed(text: str, channel: str, recipient: str | None, content_type: str | None, stop: str) -> None:
    ids = wire(text)
    events = parse(ids)
    started, finished = events[0], events[-1]
    content = text.split("<|message|>")[1].split("<|")[0]
    assert started == MessageStarted(0, "assistant", channel, recipient, content_type)
    assert events[1] == ContentDelta(0, content)
    message = Message("assistant", content, channel, recipient, content_type)
    assert finished == MessageFinished(0, message, len(ids), stop, ())


def test_analysis_then_answer() -> None:
    first, second = parse_messages(
        wire("<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>")
    )
    assert (first.message.channel, first.stop, first.num_tokens) == ("analysis", "end", 5)
    assert (second.message.channel, second.stop, second.num_tokens) == ("final", "return", 7)
    assert first.recovered == second.recovered == ()


MALFORMED = [
    # plain text, as refusals come
    ("I'm sorry, but I can't help with that.<|return|>", [("final", None, "I'm sorry, but I can't help with that.")]),
    ("No.<|end|>", [("final", None, "No.")]),
    ("No.", [("final", None, "No.")]),
    ("<|start|>assistant No.<|return|>", [("final", None, " No.")]),
    # channel missing, unknown, doubled, run into its neighbour
    ("<|message|>y<|return|>", [("final", None, "y")]),
    ("<|channel|><|message|>y<|return|>", [("final", None, "y")]),
    (" to=functions.x<|message|>y<|call|>", [("commentary", "functions.x", "y")]),
    ("<|channel|>thoughts<|message|>y<|end|>", [("final", None, "y")]),
    ("<|channel|>thoughts to=functions.x<|message|>y<|call|>", [("commentary", "functions.x", "y")]),
    ("<|channel|>commentary?commentary<|message|>y<|end|>", [("commentary", None, "y")]),
    ("<|channel|>analysisanalysis<|message|>y<|end|>", [("analysis", None, "y")]),
    ("<|channel|>assistantfinal<|message|>y<|end|>", [("final", None, "y")]),
    ("<|channel|>commentaryto=functions.x<|message|>y<|call|>", [("commentary", "functions.x", "y")]),
    ("analysis<|message|>y<|end|>", [("analysis", None, "y")]),
    ("assistant<|channel|>final<|message|>y<|return|>", [("final", None, "y")]),
    ("<|channel|>analysis<|channel|>final<|message|>y<|return|>", [("final", None, "y")]),
    # recipients
    ("<|channel|>commentary functions.x<|message|>{}<|call|>", [("commentary", "functions.x", "{}")]),
    (
        "<|channel|>commentary to=functions.x<|channel|>commentary<|message|>{}<|call|>",
        [("commentary", "functions.x", "{}")],
    ),
    ("<|channel|>commentary to=functions.x to=functions.x<|message|>{}<|call|>", [("commentary", "functions.x", "{}")]),
    ("<|channel|>commentary to=functions.x to=functions.y<|message|>{}<|call|>", [("commentary", "unclear", "{}")]),
    ("<|channel|>commentary to=assistantfunctions.x<|message|>{}<|call|>", [("commentary", "unclear", "{}")]),
    ("<|channel|>commentary to=user<|message|>{}<|call|>", [("commentary", "unclear", "{}")]),
    ("<|channel|>commentary to=developer:x<|message|>{}<|call|>", [("commentary", "unclear", "{}")]),
    ("<|channel|>commentary to=functions.x?? json<|message|>{}<|call|>", [("commentary", "functions.x", "{}")]),
    ("<|channel|>commentary to=functions.x json extra<|message|>{}<|call|>", [("commentary", "functions.x", "{}")]),
    # <|message|> missing
    ("<|channel|>final Hello there<|return|>", [("final", None, "Hello there")]),
    ("<|channel|>analysisThe user wants<|end|>", [("analysis", None, "The user wants")]),
    ("<|channel|>final<|end|>", [("final", None, "")]),
    ('<|channel|>commentary to=functions.x json{"a":1}<|call|>', [("commentary", "functions.x", 'json{"a":1}')]),
    ('<|channel|>commentary to=functions.x code {"a":1}<|call|>', [("commentary", "functions.x", '{"a":1}')]),
    # ends and starts
    ("<|channel|>final<|message|>y<|call|>", [("final", None, "y")]),
    ("<|channel|>commentary to=functions.x<|message|>{}<|end|>", [("commentary", "functions.x", "{}")]),
    ("<|channel|>commentary to=functions.x<|message|>{}<|return|>", [("commentary", "functions.x", "{}")]),
    ("<|channel|>analysis<|message|>x<|start|>assistant<|channel|>final<|message|>y", [("analysis", None, "x"), None]),
    (
        "<|channel|>analysis<|message|>x<|channel|>final<|message|>y<|return|>",
        [("analysis", None, "x"), ("final", None, "y")],
    ),
    ("<|channel|>analysis<|message|>x<|end|><|channel|>final<|message|>y", [None, ("final", None, "y")]),
    ("<|channel|>analysis<|message|>x<|end|>The answer is 5<|return|>", [None, ("final", None, "The answer is 5")]),
    ("<|channel|>analysis<|message|>x<|end|>5<|return|>", [None, ("final", None, "5")]),
    (
        "<|channel|>analysis<|message|>x<|end|>?<|start|>assistant<|channel|>final<|message|>y",
        [None, ("final", None, "y")],
    ),
    ("<|start|>assistant<|channel|>final<|message|>y<|return|>", [("final", None, "y")]),
    ("<|start|><|start|>assistant<|channel|>final<|message|>y<|return|>", [("final", None, "y")]),
    ("Well<|start|>assistant<|channel|>final<|message|>y", [("final", None, "Well"), None]),
    # special tokens inside
    ("<|channel|>final<|message|>a<|message|>b<|return|>", [("final", None, "a<|message|>b")]),
    ("<|channel|>final<|message|>a<|channel|>b<|return|>", [("final", None, "a<|channel|>b")]),
    ("<|channel|>final<|message|>a<|channel|>b<|message|>c<|return|>", [("final", None, "a<|channel|>b<|message|>c")]),
    ("<|channel|>final<|message|>a<|constrain|>b<|return|>", [("final", None, "a<|constrain|>b")]),
    ("<|channel|>final<|startoftext|><|message|>a<|return|>", [("final", None, "a")]),
    # authors
    ("<|start|>foo<|message|>bar<|end|>", [("final", None, "bar")]),
    ("<|start|>assistantassistant<|channel|>final<|message|>y", [("final", None, "y")]),
]


@pytest.mark.parametrize(("text", "expected"), MALFORMED)
def test_malformed_is_recovered_and_says_so(text: str, expected: Sequence[tuple[str, str | None, str] | None]) -> None:
    """`None` stands for a message that is well-formed and of no interest."""
    events = parse(wire(text))
    check_order(events)
    finished = [e for e in events if isinstance(e, MessageFinished)]
    assert len(finished) == len(expected)
    for got, wanted in zip(finished, expected, strict=True):
        if wanted is not None:
            assert (got.message.channel, got.message.recipient, got.message.content) == wanted
            assert got.recovered
            assert all(note and "\n" not in note for note in got.recovered)


@pytest.mark.parametrize(
    ("text", "is_sure"),
    [
        ("<|channel|>commentary to=functions.x?? json<|message|>{}<|call|>", True),
        ("<|channel|>commentary to=functions.x<|channel|>commentary<|message|>{}<|end|>", True),
        ("<|channel|>thoughts to=functions.x<|message|>y<|call|>", True),
        (" to=functions.x<|message|>y<|call|>", True),
        ("<|channel|>commentary to=functions.x!_y<|message|>{}<|call|>", False),
        ("<|channel|>commentary functions.x<|message|>{}<|call|>", False),
        ("<|channel|>commentary to=functions.x to=functions.y<|message|>{}<|call|>", False),
        ("<|channel|>commentary to=system<|message|>{}<|call|>", False),
        ("<|channel|>commentary to=functions.x{}<|call|>", False),
        ("<|channel|>commentary to=functions.x<|message|><|message|>{}<|call|>", False),
        ("<|channel|>commentary to=functions.x<|message|>{}<|start|>assistant", False),
        ("<|channel|>commentary to=functions.x<|message|>{}<|channel|>final<|message|>", False),
        ("<|start|>foo to=functions.x<|channel|>commentary<|message|>{}<|call|>", False),
    ],
)
def test_a_call_is_doubted_when_whom_or_with_what_had_to_be_guessed(text: str, is_sure: bool) -> None:
    """Channel and content type do not matter; the recipient and where the arguments begin and end do."""
    first = parse_messages(wire(text))[0]
    assert first.message.recipient is not None
    assert (first.doubt == "") is is_sure
    assert first.recovered


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        ("<|channel|>final<|message|>y<|end|><|return|>", ["y"]),
        ("<|channel|>final<|message|>y<|end|><|end|>", ["y"]),
        ("<|channel|>final<|message|>y<|return|>more<|end|>", ["y"]),
        ("<|channel|>final<|message|>y<|return|><|start|>assistant<|channel|>final<|message|>z", ["y", "z"]),
        ("<|channel|>fin", []),
        ("<|channel|>commentary to=functions.x", []),
        (" to", []),
        ("<|channel|>commentary to", []),
        ("<|channel|>commentary to=functions.x js", []),
        ("<|channel|>analysis<|message|>y<|end|><|start|>assist", ["y"]),
        ("to be", ["to be"]),
        ("json", ["json"]),
        (" to<|return|>", [" to"]),
        ("<|end|>", []),
        ("<|return|>", []),
        ("", []),
    ],
)
def test_junk_and_partial_headers_make_no_message(text: str, contents: list[str]) -> None:
    assert [m.message.content for m in parse_messages(wire(text))] == contents


@pytest.mark.parametrize(
    ("text", "role", "name"),
    [
        ("<|start|>user<|message|>do it<|end|>", "user", None),
        ("<|start|>user:ada<|message|>do it<|end|>", "user", "ada"),
        ("<|start|>functions.x to=assistant<|channel|>commentary<|message|>ok<|end|>", "tool", "functions.x"),
        ("<|start|>python to=assistant<|channel|>analysis<|message|>ok<|end|>", "tool", "python"),
    ],
)
def test_a_model_that_writes_as_someone_else_is_noticed(text: str, role: str, name: str | None) -> None:
    (finished,) = parse_messages(wire("<|end|>" + text))
    assert (finished.message.role, finished.message.name) == (role, name)
    assert any("the model wrote a message as" in note for note in finished.recovered)


def test_the_end_of_the_stream_closes_a_message() -> None:
    (finished,) = parse_messages(wire("<|channel|>final<|message|>half an ans"))
    assert (finished.message.content, finished.stop, finished.recovered) == ("half an ans", "eos", ())


def test_plain_text_streams_before_it_ends(tokenizer: Tokenizer) -> None:
    parser = StreamParser(tokenizer)
    events = parser.feed(wire("I cannot do that, because"))
    assert events == [
        MessageStarted(0, "assistant", "final", None, None),
        ContentDelta(0, "I cannot do that, because"),
    ]
    assert parser.feed(wire(" of it")) == [ContentDelta(0, " of it")]


def test_a_header_without_end_becomes_content(tokenizer: Tokenizer) -> None:
    parser = StreamParser(tokenizer)
    word = tokenizer.encode(" word")
    events = parser.feed([CHANNEL, *tokenizer.encode("analysis"), *word * HEADER_LIMIT])
    assert events[0] == MessageStarted(0, "assistant", "analysis", None, None)
    assert events[1] == ContentDelta(0, ("word" + " word" * (HEADER_LIMIT - 1)))


def test_content_arrives_in_whole_code_points(tokenizer: Tokenizer) -> None:
    text = "naïve 🙂👩\u200d🚀 漢字 ᚠ 🤷🏽"
    parser = StreamParser(tokenizer)
    parser.feed(wire("<|channel|>final<|message|>"))
    pieces = [e.text for t in _byte_tokens(text) for e in parser.feed([t]) if isinstance(e, ContentDelta)]
    assert pieces == list(text)


def test_bytes_that_are_no_utf8_become_replacement_characters(tokenizer: Tokenizer) -> None:
    broken = _single_bytes()[0xF0]
    (cut,) = parse_messages([*wire("<|channel|>final<|message|>a"), broken, END])
    assert cut.message.content == "a\ufffd"
    (joined,) = parse_messages([*wire("<|channel|>final<|message|>a"), broken, *wire("b<|message|>c"), broken])
    assert joined.message.content == "a\ufffdb<|message|>c\ufffd"


@pytest.mark.parametrize("junk", [0xE6, 0xF0])
def test_a_code_point_split_where_a_header_turns_into_text_is_kept(tokenizer: Tokenizer, junk: int) -> None:
    rest = {0xE6: "漢", 0xF0: "🙂"}[junk]
    ids = [*wire("one two three "), *_byte_tokens(rest), *wire(" five"), END]
    (finished,) = parse_messages(ids)
    assert finished.message.content == f"one two three {rest} five"


def _single_bytes() -> dict[int, int]:
    from gptoss_tui.harmony.tokenizer import load_tokenizer

    tokenizer = load_tokenizer()
    return {tokenizer.token_bytes(i)[0]: i for i in range(256)}


def _byte_tokens(text: str) -> list[int]:
    table = _single_bytes()
    return [table[byte] for byte in text.encode()]


CONTROL = sorted(SPECIAL_TOKENS)
HEADER_WORDS = wire("analysis commentary final assistant user to= functions.x json code python ?")
TOKENS = st.one_of(
    st.sampled_from([START, CHANNEL, MESSAGE, END, RETURN, CALL, CONSTRAIN]),
    st.sampled_from(HEADER_WORDS),
    st.integers(0, 255),
    st.integers(-5, VOCAB_SIZE + 5),
    st.sampled_from(CONTROL),
)
SOUP = st.lists(st.one_of(TOKENS, st.sampled_from([t for t, *_ in WELL_FORMED]).map(wire)), max_size=60).map(
    lambda parts: [t for part in parts for t in (part if isinstance(part, list) else [part])]
)


@given(SOUP)
@settings(max_examples=500, deadline=None)
def test_any_soup_is_read_in_order_and_every_token_is_accounted_for(tokenizer: Tokenizer, soup: list[int]) -> None:
    parser = StreamParser(tokenizer)
    events = [*parser.feed(soup), *parser.finish()]
    check_order(events)
    claimed = sum(e.num_tokens for e in events if isinstance(e, MessageFinished))
    assert claimed + parser.unclaimed_tokens == len(soup)


@given(SOUP)
@settings(max_examples=500, deadline=None)
def test_content_is_the_text_of_its_tokens(tokenizer: Tokenizer, soup: list[int]) -> None:
    """Nothing is invented or lost: a message's content stands, as it is, in the text of its own tokens."""
    position = 0
    for event in parse_messages(soup):
        own = soup[position : position + event.num_tokens]
        assert event.message.content in tokenizer.decode(own)
        position += event.num_tokens


@given(SOUP)
@settings(max_examples=300, deadline=None)
def test_how_a_stream_is_cut_changes_nothing(tokenizer: Tokenizer, soup: list[int]) -> None:
    parser = StreamParser(tokenizer)
    one_by_one = [event for token in soup for event in parser.feed([token])] + parser.finish()
    assert merge_deltas(one_by_one) == merge_deltas(parse(soup))


@given(SOUP)
@settings(max_examples=300, deadline=None)
def test_what_was_understood_renders_and_reads_the_same(tokenizer: Tokenizer, soup: list[int]) -> None:
    for event in parse_messages(soup):
        (again,) = parse_messages(render_message(tokenizer, event.message), sampled=False)
        assert again.message == event.message
        assert again.recovered == () or event.message.channel is None


TEXT = st.text(max_size=30)
ROUND_TRIP = st.one_of(
    st.builds(Message, st.just("user"), TEXT),
    st.builds(Message, st.just("system"), TEXT),
    st.builds(Message, st.just("assistant"), TEXT, st.sampled_from(["analysis", "commentary", "final"])),
    st.builds(
        Message,
        st.just("assistant"),
        TEXT,
        st.sampled_from(["analysis", "commentary"]),
        st.sampled_from(["functions.read_file", "python", "browser.search"]),
        st.sampled_from([None, "json", "code", "<|constrain|>json"]),
    ),
    st.builds(
        Message,
        st.just("tool"),
        TEXT,
        st.sampled_from(["analysis", "commentary"]),
        st.just("assistant"),
        name=st.sampled_from(["functions.read_file", "python", "browser.search"]),
    ),
)


@given(st.lists(ROUND_TRIP, max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_rendered_conversation_reads_back(tokenizer: Tokenizer, messages: list[Message]) -> None:
    ids = [token for message in messages for token in render_message(tokenizer, message)]
    events = parse_messages(ids, sampled=False)
    assert [e.message for e in events] == messages
    assert all(e.recovered == () for e in events)


class CountingTokenizer(Tokenizer):
    """Counts the tokens whose text was asked for."""

    def __init__(self, real: Tokenizer) -> None:
        super().__init__(real._encoding, real._pieces)
        self.lookups = 0

    def token_bytes(self, token_id: int) -> bytes:
        self.lookups += 1
        return super().token_bytes(token_id)

    def decode(self, token_ids: Sequence[int]) -> str:
        self.lookups += len(token_ids)
        return super().decode(token_ids)


@pytest.mark.parametrize("kind", ["content", "plain text", "channels in content", "starts", "no header end", "soup"])
def test_work_is_linear_in_tokens(tokenizer: Tokenizer, kind: str) -> None:
    rng = random.Random(1)
    streams = {
        "content": [*wire("<|channel|>final<|message|>"), *wire(" word") * 16_000],
        "plain text": wire(" word") * 16_000,
        "channels in content": [*wire("<|channel|>final<|message|>"), *[CHANNEL, *wire(" a b c")] * 4_000],
        "starts": [START, *wire("assistant")] * 8_000,
        "no header end": [START, *wire("assistant"), CHANNEL, *wire(" to=a") * 8_000],
        "soup": rng.choices([START, CHANNEL, MESSAGE, END, *HEADER_WORDS], k=16_000),
    }
    ids = streams[kind]
    counting = CountingTokenizer(tokenizer)
    parser = StreamParser(counting)
    delivered = 0
    for token in ids:
        delivered += sum(len(e.text) for e in parser.feed([token]) if isinstance(e, ContentDelta))
    parser.finish()
    assert counting.lookups <= 2 * len(ids)
    assert delivered <= len(tokenizer.decode(ids))


KNOWN = {"functions.apply_patch", "functions.read_file", "browser.search", "python"}


@pytest.mark.parametrize(
    ("recipient", "name"),
    [
        ("functions.apply_patch", "functions.apply_patch"),
        ("apply_patch", "functions.apply_patch"),
        ("python", "python"),
        ("functions.python", "python"),
        ("browser.search", "browser.search"),
        ("functions.browser.search", "browser.search"),
        ("functions.read_file<|channel|>commentary", "functions.read_file"),
        (" functions.read_file json", "functions.read_file"),
        ("functions.read_filecommentary", "functions.read_file"),
        ("functions.read_file?", "functions.read_file"),
        ("container.exec", None),
        ("functions.read", None),
        ("unclear", None),
        ("", None),
        ("<|channel|>", None),
    ],
)
def test_recipients_are_matched_to_known_tools(recipient: str, name: str | None) -> None:
    assert normalize_recipient(recipient, KNOWN) == name


def test_bare_registered_names_are_matched_too() -> None:
    assert normalize_recipient("functions.apply_patch", {"apply_patch"}) == "apply_patch"


def _transcripts() -> list[list[int]]:
    thought = "<|channel|>analysis<|message|>The user wants {}.<|end|><|start|>assistant"
    calls = [
        f'<|channel|>commentary to=functions.read_file <|constrain|>json<|message|>{{"path":"{n}.py"}}<|call|>'
        for n in range(12)
    ]
    built = [f'<|channel|>analysis to=browser.open code<|message|>{{"id":{n}}}<|call|>' for n in range(12)]
    patches = [
        f" to=functions.apply_patch<|channel|>commentary<|message|>*** Begin Patch\n+{n}<|call|>" for n in range(12)
    ]
    answers = [f"<|channel|>final<|message|>It is {n}, naïvely 🙂.<|return|>" for n in range(14)]
    return [wire(thought.format(n) + tail) for n, tail in enumerate([*calls, *built, *patches, *answers])]


def test_single_token_damage_never_makes_another_call(tokenizer: Tokenizer) -> None:
    """Every deletion, duplication and swap in 50 transcripts, and a control or text token put in at every place."""
    intruders = [START, END, MESSAGE, CHANNEL, CALL, RETURN, CONSTRAIN, *wire("final"), *wire(" to=")[:1]]
    assert all(token < VOCAB_SIZE for token in intruders)
    known = {"functions.read_file", "functions.apply_patch", "browser.open", "python"}
    runs = 0
    for ids in _transcripts():
        allowed = {m.message.recipient for m in parse_messages(ids)} | {None}
        for damaged in _damage(ids, intruders):
            runs += 1
            events = parse(damaged)
            check_order(events)
            for event in events:
                if isinstance(event, MessageFinished) and event.message.recipient and event.message.role == "assistant":
                    assert normalize_recipient(event.message.recipient, known) in allowed
    assert runs >= 15_000


def _damage(ids: list[int], intruders: list[int]) -> list[list[int]]:
    out = []
    for i in range(len(ids)):
        out.append(ids[:i] + ids[i + 1 :])
        out.append(ids[: i + 1] + ids[i:])
        out.append([*ids[:i], *ids[i : i + 2][::-1], *ids[i + 2 :]])
        out.append(ids[:i])
        out += [[*ids[:i], token, *ids[i:]] for token in intruders]
    return out
