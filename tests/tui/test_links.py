"""Links that a terminal opens."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from gptoss_tui.tui.links import MAX_TARGET, linked


def test_a_page_on_the_web_is_linked_as_it_is() -> None:
    url = "https://example.com/a%20page?x=1&y=[2]#top"
    assert linked(Style(bold=True), url).link == url


def test_what_is_no_page_on_the_web_is_not_linked() -> None:
    for url in ("local://docs/keys.md", "file:///etc/passwd", "javascript:alert(1)", "https://", "", "x" * 10):
        assert linked(Style(), url).link is None
    assert linked(Style(), "https://example.com/" + "a" * MAX_TARGET).link is None


@given(st.text())
def test_a_target_is_visible_ascii_that_ends_no_sequence(text: str) -> None:
    target = linked(Style(), f"https://example.com/{text}").link
    assert target is None or re.fullmatch(r"[!-:<-~]*", target)
