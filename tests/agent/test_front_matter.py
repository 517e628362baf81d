"""Front matter as people write it, against what YAML says of the same text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.agent.front_matter import split_front_matter


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain words: with a colon", "plain words: with a colon"),
        ("  spaces around  ", "spaces around"),
        ("'it''s'", "it's"),
        (r'"a \"word\" and a\tb"', 'a "word" and a\tb'),
        ("a # comment", "a"),
        ("no#comment", "no#comment"),
        ("goes on\n  below\n  and below", "goes on below and below"),
        (">\n  folded\n  lines\n", "folded lines"),
        (">-\n  folded", "folded"),
        ("|\n  kept\n  lines\n", "kept\nlines"),
        ("", ""),
    ],
)
def test_values(written: str, value: str) -> None:
    front, text = split_front_matter(f"---\nname: x\nDescription: {written}\nlicense: MIT\n---\nBody\n---\nmore\n")
    assert front == {"name": "x", "description": value, "license": "MIT"}
    assert text == "Body\n---\nmore\n"


def test_windows_lines_a_mark_and_what_is_nested() -> None:
    content = "\ufeff---\r\nname: x\r\nmetadata:\r\n  name: y\r\nallowed-tools:\r\n- Bash\r\n---\r\nBody"
    front, text = split_front_matter(content)
    assert (front["name"], text) == ("x", "Body")


@pytest.mark.parametrize("content", ["", "Body", "---\nname: x\n", " ---\nname: x\n---\n", "text\n---\nname: x\n---\n"])
def test_without_front_matter_all_is_text(content: str) -> None:
    assert split_front_matter(content) == ({}, content)


@given(st.text(alphabet=st.sampled_from("---\n\r: >|'\"#\\ab\t"), max_size=200))
def test_any_text_is_read(content: str) -> None:
    front, text = split_front_matter(content)
    assert all(key == key.lower() for key in front)
    assert content.replace("\r\n", "\n").endswith(text)
