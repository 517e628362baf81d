"""The log of a conversation: whatever is done to it, the session file gives the same tokens and the same turns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.agent.history import History, restore_history
from gptoss_tui.agent.log import before_turn, effective, last_turn, number_turns, turns
from gptoss_tui.agent.prompt import build_preamble
from gptoss_tui.agent.session import SessionHeader, SessionState
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import EFFORTS, Preamble
from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, THINK
from tests.agent.scripted_engine import ids_of

TOKENIZER = load_tokenizer()
HEADER = SessionHeader("x", "", "", "", "/w", None)
PREAMBLES = [build_preamble(effort=effort, current_date=None, functions=()) for effort in EFFORTS]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.integers(0, 2)),
        st.tuples(st.just("cut"), st.integers(1, 30)),
        st.tuples(st.just("rewind"), st.integers(0, 5)),
        st.sampled_from([("redo", 0), ("compact", 0), ("steer", 0), ("call", 0), ("reload", 0)]),
    ),
    max_size=14,
)


class Session:
    """A history and the lines of its file."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.history = History(Conversation(TOKENIZER, PREAMBLES[0]), self.write)

    def write(self, record: Any) -> None:
        self.lines.append(json.dumps(record))

    def read(self) -> History:
        state = SessionState(Path("x.jsonl"), HEADER, tuple(json.loads(line) for line in self.lines))
        return restore_history(TOKENIZER, state, PREAMBLES[0], self.write)

    def say(self, transcript: str, cut: int | None = None) -> None:
        self.history.add_sampled(ids_of(TOKENIZER, transcript)[:cut])
        self.history.end_generation()

    def turn(self, preamble: Preamble) -> None:
        self.history.add_user(f"message {self.history.next_number}", preamble, f"x/t{self.history.next_number}")
        self.say(THINK + "<|start|>assistant" + ANSWER)

    def do(self, step: str, number: int) -> None:
        history = self.history
        known = history.turns()
        acts: dict[str, Callable[[], object]] = {
            "turn": lambda: self.turn(PREAMBLES[number]),
            "cut": lambda: known and self.say(CALL_PATCH, number),
            "call": lambda: known and (self.say(CALL_PATCH), history.add_tool_reply("functions.x", "ok", "commentary")),
            "rewind": lambda: known and history.rewind(TOKENIZER, known[number % len(known)].number),
            "redo": lambda: history.dropped_turns() and history.redo(TOKENIZER),
            "compact": lambda: known and history.begin_again(["This is where we are."]),
            "steer": lambda: known and history.add_steering("more"),
            "reload": lambda: setattr(self, "history", self.read()),
        }
        acts[step]()


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_the_file_gives_the_same_conversation_whatever_was_done(steps: list[tuple[str, int]]) -> None:
    session = Session()
    for step in steps:
        session.do(*step)
        again, history = session.read(), session.history
        assert again.turns() == history.turns()
        assert again.dropped_turns() == history.dropped_turns()
        assert again.next_number == history.next_number
        for turn in history.turns():
            assert again.edits_of(turn.number) == f"x/t{turn.number}"
        if history.turns():
            assert again.conversation.tokens == history.conversation.tokens
        assert again.conversation.entries == history.conversation.entries


@given(STEPS)
@settings(max_examples=50, deadline=None)
def test_redo_takes_a_rewind_back_to_the_token(steps: list[tuple[str, int]]) -> None:
    session = Session()
    for step in steps:
        session.do(*step)
    before = (session.history.turns(), session.history.conversation.tokens)
    for turn in session.history.turns():
        assert session.history.rewind(TOKENIZER, turn.number) == turn.text
        assert turn.number not in [left.number for left in session.history.turns()]
        session.history.redo(TOKENIZER)
        assert (session.history.turns(), session.history.conversation.tokens) == before


def user(number: int | None = None) -> dict[str, Any]:
    return {"type": "history", "op": "user", "text": "x"} | ({} if number is None else {"turn": number})


def test_turns_of_old_files_are_numbered_by_order() -> None:
    numbered = number_turns([user(), {"type": "notice"}, user(), user(7), user()])
    assert [r["turn"] for r in numbered if "turn" in r] == [1, 2, 7, 8]
    assert last_turn(numbered) == 8
    assert last_turn([]) == 0


def test_events_between_are_dropped_with_their_turn() -> None:
    records = [user(1), {"type": "a"}, {"op": "preamble"}, user(2), {"type": "b"}]
    assert before_turn(records, 2) == records[:2]
    assert before_turn(records, 9) == records
    kept = effective([*records, {"op": "rewind", "turn": 2}, {"type": "rewound"}]).kept
    assert [r.get("type", r.get("op")) for r in kept] == ["history", "a", "rewound"]


@pytest.mark.parametrize("op", ["redo", "rewind", "files", "compact", "unheard-of"])
def test_an_operation_without_anything_before_it_does_no_harm(op: str) -> None:
    record = {"type": "history", "op": op, "turn": 1, "paths": ["a"], "texts": ["t"]}
    past = effective([record])
    assert turns(past.kept) == ()
    state = SessionState(Path("x.jsonl"), HEADER, (record,))
    assert restore_history(TOKENIZER, state, PREAMBLES[0], lambda _: None).conversation.entries == ()
