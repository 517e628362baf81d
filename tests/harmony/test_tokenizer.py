from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.errors import VocabularyError
from gptoss_tui.harmony import tokenizer as module
from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, VOCAB_SIZE, read_vocabulary
from tests.harmony import library


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert b"".join(tokenizer.token_bytes(i) for i in ids) == text.encode()
    assert tokenizer.decode(ids) == text


def test_no_text_becomes_a_control_token(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    pieces = [*SPECIAL_TOKENS.values(), "<|", "|>", "start", "<|reserved_200000|>", "<|call|", " ", "\n", "é", "a"]
    for _ in range(10_000):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 6)))
        assert max(tokenizer.encode(text)) < NUM_TEXT_TOKENS


@pytest.mark.parametrize("unit", ["a", " ", "\n", "=", "-=", "é", "a\u0301", "ab1" * 1000 + "X"])
def test_a_run_without_end_takes_no_time_without_end(tokenizer: Tokenizer, unit: str) -> None:
    """Cut, it takes seconds where it took minutes; nothing of it is lost, and a run that a text may have is not cut."""
    text = f"before {unit * (100_000 // len(unit))} after"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    short = unit * (2000 // len(unit))
    assert tokenizer.encode(short) == tokenizer._encoding.encode(short, allowed_special=set(), disallowed_special=())


def test_lone_surrogates_are_encoded_as_replacement(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


@given(st.lists(st.integers(0, NUM_TEXT_TOKENS - 1) | st.sampled_from(sorted(SPECIAL_TOKENS)), max_size=20))
@settings(max_examples=200, deadline=None)
def test_decoding_equals_the_library(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert tokenizer.decode(ids) == library.encoding().decode(ids)


def test_special_names_equal_the_library(tokenizer: Tokenizer) -> None:
    for token, name in SPECIAL_TOKENS.items():
        assert library.encoding().encode(name, allowed_special="all") == [token]
        assert tokenizer.decode([token]) == name
        assert tokenizer.token_bytes(token) == b""


def test_ids_outside_the_vocabulary_have_no_bytes(tokenizer: Tokenizer) -> None:
    for token in (-1, NUM_TEXT_TOKENS, VOCAB_SIZE, 10**9):
        assert tokenizer.token_bytes(token) == b""
        assert tokenizer.decode([token]).startswith("<|")


def test_the_vocabulary_in_the_package_is_complete() -> None:
    lines = read_vocabulary().splitlines()
    assert len(lines) == NUM_TEXT_TOKENS
    assert [int(line.split(b" ")[1]) for line in lines] == list(range(NUM_TEXT_TOKENS))


def test_a_damaged_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss_tui.vocabulary.VOCABULARY_SHA256", "0" * 64)
    with pytest.raises(VocabularyError, match="reinstall"):
        read_vocabulary()


def test_loads_where_the_cache_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(module, "user_cache_path", lambda _: tmp_path / "file" / "cache")
    assert load_tokenizer.__wrapped__().decode([17196]) == "final"


def test_a_damaged_cache_is_written_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "user_cache_path", lambda _: tmp_path)
    cached = tmp_path / "vocabulary" / module.VOCABULARY_FILE
    cached.parent.mkdir()
    vocabulary = read_vocabulary()
    cached.write_bytes(b"x" * len(vocabulary))
    assert load_tokenizer.__wrapped__().encode("final") == [17196]
    assert cached.read_bytes() == vocabulary
    assert list(cached.parent.iterdir()) == [cached]


def test_importing_harmony_loads_neither_the_library_nor_torch() -> None:
    code = (
        "import sys, gptoss_tui.harmony.conversation, gptoss_tui.harmony.builtin;"
        "print([m for m in ('openai_harmony', 'pydantic', 'torch', 'textual') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
