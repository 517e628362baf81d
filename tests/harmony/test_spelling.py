"""Token ids as text and back, for servers that have nothing else."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.harmony.spelling import Spelling
from gptoss_tui.harmony.tokenizer import (
    CALL,
    CHANNEL,
    END,
    MESSAGE,
    RETURN,
    SPECIAL_TOKENS,
    START,
    STOP_TOKENS,
    load_tokenizer,
)

TOKENIZER = load_tokenizer()
SPELLING = Spelling(TOKENIZER)
NAMES = list(SPECIAL_TOKENS.values())

hostile = st.lists(
    st.sampled_from([*NAMES, "<|reserved_200013|>", "<|endofprompt|>", "<|", "|>", "<", "a", "é", "🦙", " "])
)
words = st.lists(st.sampled_from(["Hi", " é🦙", "<", "<|", "|>", "\n", "a < b", "<|sta", "rt|"]), max_size=6).map(
    "".join
)
messages = st.lists(st.one_of(words, st.sampled_from(list(SPECIAL_TOKENS))), max_size=12)


def ids_of(parts: list[str | int]) -> list[int]:
    return [token for part in parts for token in ([part] if isinstance(part, int) else TOKENIZER.encode(part))]


@given(hostile.map("".join))
def test_no_text_spells_a_token(text: str) -> None:
    said = SPELLING.spell([START, *TOKENIZER.encode(text), END])
    inside = said.removeprefix("<|start|>").removesuffix("<|end|>")
    reader = SPELLING.reader()
    assert not {*reader.feed(inside), *reader.finish(stopped=False)} & set(SPECIAL_TOKENS)
    assert re.search(r"<\|\w+\|>", inside) is None


@given(messages, st.integers(1, 9))
def test_what_was_spelled_is_read_again_however_it_is_cut(parts: list[str | int], size: int) -> None:
    text = TOKENIZER.decode(ids_of(parts))
    reader = SPELLING.reader()
    token_ids = [token for at in range(0, len(text), size) for token in reader.feed(text[at : at + size])]
    token_ids += reader.finish(stopped=False)
    assert TOKENIZER.decode(token_ids) == text
    assert [token for token in token_ids if token in SPECIAL_TOKENS] == [
        next(token for token, name in SPECIAL_TOKENS.items() if name == found)
        for found in re.findall("|".join(map(re.escape, NAMES)), text)
    ]


def test_text_that_looks_like_nothing_stays_as_it_is() -> None:
    text = "a <| b |> c <|> <¦end¦> if x<y|z>w: <|two words|>"
    assert SPELLING.spell(TOKENIZER.encode(text)) == text


def closing(*parts: str | int) -> list[int]:
    reader = SPELLING.reader()
    reader.feed(TOKENIZER.decode(ids_of(list(parts))))
    return reader.finish(stopped=True)


def test_the_stop_that_a_server_keeps_is_the_one_that_belongs_there() -> None:
    thought = (CHANNEL, "analysis", MESSAGE, "to=functions.x", END, START, "assistant")
    assert closing(*thought, CHANNEL, "final", MESSAGE, "Send it to=me") == [RETURN]
    assert closing(*thought, CHANNEL, "commentary to=functions.x ", MESSAGE, "{}") == [CALL]
    assert closing(*thought, " to=functions.x", CHANNEL, "commentary", MESSAGE, "{}") == [CALL]
    assert closing("the rest of an answer") == [RETURN]


def test_a_stop_that_was_told_is_not_told_twice() -> None:
    for stop in STOP_TOKENS:
        reader = SPELLING.reader()
        assert reader.feed(TOKENIZER.decode([CHANNEL, *TOKENIZER.encode("final"), MESSAGE, stop]))[-1] == stop
        assert reader.finish(stopped=True) == []
