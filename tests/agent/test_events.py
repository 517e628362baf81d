"""The JSON form of events, and the page that documents it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from gptoss_tui.agent import events
from gptoss_tui.agent.events import SCHEMA_VERSION, AnswerDone, Event, ToolCallDelta, event_type, to_dict

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
CLASSES = [c for c in vars(events).values() if isinstance(c, type) and issubclass(c, Event) and c is not Event]


def documented() -> dict[str, dict[str, str]]:
    """Event type -> field -> what the page says about it."""
    sections = re.split(r"^### `(\w+)`$", PAGE.read_text(), flags=re.MULTILINE)
    return {
        name: dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", re.split(r"^#", body, flags=re.MULTILINE)[0], re.MULTILINE))
        for name, body in zip(sections[1::2], sections[2::2], strict=True)
    }


def test_the_page_lists_every_event_and_no_other() -> None:
    assert sorted(documented()) == sorted(event_type(c) for c in CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=event_type)
def test_the_page_lists_every_field_and_value(cls: type[Event]) -> None:
    fields = documented()[event_type(cls)]
    assert list(fields) == [f.name for f in dataclasses.fields(cls) if f.name != "turn_id"]
    for name, hint in get_type_hints(cls).items():
        refers = re.search(r"as in `(\w+)`", fields.get(name, ""))
        text = documented()[refers[1]][name] if refers else fields.get(name, "")
        for value in get_args(hint) if name in fields and "tuple" not in str(hint) else ():
            assert not isinstance(value, str) or f"`{value}`" in text, (name, value)


def test_the_page_is_about_this_version() -> None:
    assert f"schema version **{SCHEMA_VERSION}**" in PAGE.read_text()


def test_json_form() -> None:
    assert event_type(ToolCallDelta) == "tool_call_delta"
    assert to_dict(AnswerDone(turn_id="t1", item_id="m", text="x", tokens=2, seconds=0.5)) == {
        "v": SCHEMA_VERSION,
        "type": "answer_done",
        "turn_id": "t1",
        "item_id": "m",
        "text": "x",
        "tokens": 2,
        "seconds": 0.5,
        "preamble": False,
    }
