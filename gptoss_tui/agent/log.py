"""What happened to a conversation, step by step: playing the log back gives the same conversation, token for token.

Operations are JSON objects with an `op`:

- `preamble`: the system and developer messages from now on
- `user`: a turn begins: its number (`turn`), its message (`text`), local `time`, and the name of its `edits` for undo
- `ids`, `end`: sampled tokens as they were sampled; the generation is over
- `tool`: what a tool replied to a call
- `steer`: a message of the user inside the turn
- `files`: `paths` that a call changed
- `compact`: the messages (`texts`) that stand for everything before
- `rewind`: turn `turn` and everything after it never happened
- `redo`: what the last rewind dropped is back; there was no other turn since

An operation that is not known is passed by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gptoss_tui.agent.commands import TurnSummary
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import preamble_from_dict
from gptoss_tui.harmony.tokenizer import Tokenizer

Operation = Mapping[str, Any]

DAMAGED: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading operations raises when no program wrote them."""


def number_turns(records: Iterable[Operation]) -> list[Operation]:
    """`records` with a number for every turn: files of version 1 have none and count by order."""
    numbered: list[Operation] = []
    last = 0
    for record in records:
        if record.get("op") == "user":
            last = int(record.get("turn", last + 1))
            record = {**record, "turn": last}
        numbered.append(record)
    return numbered


def last_turn(records: Iterable[Operation]) -> int:
    """The highest number of a turn that ever began, 0 without one."""
    return max((record["turn"] for record in records if record.get("op") == "user"), default=0)


@dataclass(frozen=True, slots=True)
class Effective:
    """What counts of a log, and what rewinds dropped that can come back, the last at the end."""

    kept: list[Operation]
    dropped: list[list[Operation]]


def effective(records: Iterable[Operation]) -> Effective:
    """Numbered `records` without what rewinds took back and without the rewinds. Other records may stand between."""
    kept: list[Operation] = []
    dropped: list[list[Operation]] = []
    for record in records:
        match record.get("op"):
            case "rewind":
                before = before_turn(kept, int(record["turn"]))
                dropped.append(kept[len(before) :])
                kept = before
            case "redo":
                kept += dropped.pop() if dropped else []
            case _:
                if record.get("op") == "user":
                    dropped.clear()
                kept.append(record)
    return Effective(kept, dropped)


def before_turn(records: Sequence[Operation], number: int) -> list[Operation]:
    """The records before turn `number` began, with what changed for it; all of them when it is not there."""
    for index, record in enumerate(records):
        if record.get("op") == "user" and record["turn"] == number:
            changed = index > 0 and records[index - 1].get("op") == "preamble"
            return list(records[: index - changed])
    return list(records)


def turns(log: Iterable[Operation]) -> tuple[TurnSummary, ...]:
    """The turns of an effective log."""
    found: list[TurnSummary] = []
    files: dict[int, list[str]] = {}
    for operation in log:
        if operation["op"] == "user":
            found.append(TurnSummary(operation["turn"], str(operation["text"]), str(operation.get("time", ""))))
        elif operation["op"] == "files" and found:
            files.setdefault(found[-1].number, []).extend(map(str, operation["paths"]))
    return tuple(
        TurnSummary(turn.number, turn.text, turn.started, tuple(dict.fromkeys(files.get(turn.number, ()))))
        for turn in found
    )


def replay(tokenizer: Tokenizer, log: Iterable[Operation]) -> Conversation | None:
    """The conversation of an effective log, None when no preamble was set.

    Raises one of `DAMAGED` or HarmonyError for operations that no program wrote.
    """
    conversation: Conversation | None = None
    open_ids: list[int] = []
    for operation in log:
        if operation["op"] == "preamble":
            preamble = preamble_from_dict(operation["preamble"])
            conversation = conversation or Conversation(tokenizer, preamble)
            conversation.set_preamble(preamble)
        elif conversation is not None:
            open_ids = _play(conversation, operation, open_ids)
    if conversation is not None:
        _end(conversation, open_ids)
    return conversation


def _play(conversation: Conversation, operation: Operation, open_ids: list[int]) -> list[int]:
    """Apply one operation; gives the ids of the generation that is open then."""
    match operation["op"]:
        case "ids":
            return [*open_ids, *(int(i) for i in operation["ids"])]
        case "user":
            _end(conversation, open_ids)
            conversation.add_user(str(operation["text"]))
        case "steer":
            _end(conversation, open_ids)
            conversation.add_steering(str(operation["text"]))
        case "tool":
            _end(conversation, open_ids)
            conversation.add_tool_reply(str(operation["name"]), str(operation["text"]), operation["channel"])
        case "compact":
            conversation.begin_again([str(text) for text in operation["texts"]])
        case "end":
            _end(conversation, open_ids)
        case _:
            return open_ids
    return []


def _end(conversation: Conversation, open_ids: list[int]) -> None:
    if open_ids:
        conversation.append_sampled(open_ids)
