"""The log of a conversation: replaying its operations gives the same conversation, token for token.

Operations are JSON objects with an `op`:

- `preamble`: the system and developer messages from now on
- `user`: a turn begins: its number (`turn`), its message (`text`), local `time`, and the name of its `edits` for undo
- `ids`: token ids as they were sampled
- `end`: the generation is over
- `tool`: a tool's reply to a call
- `steer`: a message of the user during the turn
- `files`: the `paths` that a call changed
- `compact`: the messages (`texts`) that replace everything before
- `rewind`: turn `turn` and everything after it are dropped
- `redo`: what the last rewind dropped is restored; no turn has begun since

Unknown operations are ignored.
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
"""The exceptions that damaged operations can raise."""


def number_turns(records: Iterable[Operation]) -> list[Operation]:
    """Give every turn in `records` a number: in files of version 1 turns have none and are numbered in order."""
    numbered: list[Operation] = []
    last = 0
    for record in records:
        if record.get("op") == "user":
            last = int(record.get("turn", last + 1))
            record = {**record, "turn": last}
        numbered.append(record)
    return numbered


def last_turn(records: Iterable[Operation]) -> int:
    """The highest turn number in the records, or 0 without turns."""
    return max((record["turn"] for record in records if record.get("op") == "user"), default=0)


@dataclass(frozen=True, slots=True)
class Effective:
    """The operations of a log that are in effect, and those that can be restored, one list for each rewind in order."""

    kept: list[Operation]
    dropped: list[list[Operation]]


def effective(records: Iterable[Operation]) -> Effective:
    """Apply the rewinds and redos in numbered `records`, which may also contain other records."""
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
    """The records before turn `number`, without the preamble that was set for it; all when there is no such turn."""
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
    """Rebuild the conversation of an effective log. Returns None when no preamble was set.

    Raises one of `DAMAGED` or HarmonyError for damaged operations.
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
    """Apply one operation. Returns the ids of the open generation afterwards."""
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
