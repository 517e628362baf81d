"""Arguments as models write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.declarations import LIST_FILES, READ_FILE, SEARCH_FILES

READ = {"path": "a.py", "start_line": 1, "num_lines": 400}


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ('{"path": "a.py"}', {}),
        ("a.py", {}),
        ('"a.py"', {}),
        (' \n{"path": "a.py"}\n', {}),
        ('```json\n{"path": "a.py"}\n```', {}),
        ('{"path": "a.py", "start_line": null}', {}),
        ('{"path": "a.py", "start_line": 7}', {"start_line": 7}),
        ('{"path": "a.py", "start_line": "7"}', {"start_line": 7}),
        ('{"path": "a.py", "start_line": 7.0, "num_lines": "2"}', {"start_line": 7, "num_lines": 2}),
        ('{"path": 5}', {"path": "5"}),
        ("2024", {"path": "2024"}),
        ('{"path": "two\nlines"}', {"path": "two\nlines"}),
    ],
)
def test_forms_that_are_understood(text: str, changed: dict[str, Any]) -> None:
    assert parse_arguments(text, READ_FILE) == READ | changed


def test_nothing_means_defaults() -> None:
    for text in ("", "  ", "{}", "null", "```json\n{}\n```"):
        assert parse_arguments(text, LIST_FILES) == {"path": ".", "pattern": None}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the argument path is missing"),
        ('{"path": null}', "the argument path is missing"),
        ('{"file": "a.py"}', "unknown argument file"),
        ('{"path": "a.py", "limit": 1}', "unknown argument limit"),
        ('{"path": "a.py"', "not valid JSON"),
        ('{"path": "a.py"} {"path": "b.py"}', "not valid JSON"),
        ("read a.py\nplease", "not valid JSON"),
        ('["a.py"]', "not a JSON object"),
        ("true", "not a JSON object"),
        ('{"path": ["a.py"]}', "path is not a string"),
        ('{"path": true}', "path is not a string"),
        ('{"path": "a", "start_line": "seven"}', "start_line is not a whole number"),
        ('{"path": "a", "start_line": 1.5}', "start_line is not a whole number"),
        ('{"path": "a", "start_line": true}', "start_line is not a whole number"),
        ('{"path": "a", "start_line": Infinity}', "start_line is not a whole number"),
        ('{"path": "a", "start_line": [1]}', "start_line is not a whole number"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_refusals_show_the_right_form(text: str, reason: str) -> None:
    with pytest.raises(ToolError) as caught:
        parse_arguments(text, READ_FILE)
    assert reason in caught.value.message
    assert '{"path": "…", "start_line": 1, "num_lines": 400}' in caught.value.message


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(str))
def test_any_text_is_arguments_or_a_tool_error(text: str) -> None:
    try:
        values = parse_arguments(text, SEARCH_FILES)
    except ToolError:
        return
    assert set(values) == {"pattern", "path"}
    assert isinstance(values["pattern"], str)
