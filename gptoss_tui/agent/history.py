"""What the model has read and written, kept both as a `Conversation` and as the log that the session file contains.

To go back to an earlier turn, the log is replayed up to that turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gptoss_tui.agent.commands import TurnSummary
from gptoss_tui.agent.log import (
    DAMAGED,
    Effective,
    Operation,
    before_turn,
    effective,
    last_turn,
    number_turns,
    replay,
    turns,
)
from gptoss_tui.agent.session import SessionState
from gptoss_tui.errors import HarmonyError, SessionError, UsageError
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Message, Preamble, preamble_to_dict
from gptoss_tui.harmony.tokenizer import CHANNEL, MESSAGE, Tokenizer

Record = Callable[[Mapping[str, Any]], None]


class History:
    """A conversation, with the tokens sampled so far of at most one open generation.

    `record` is called with every line for the session file. `past` is the log that led to `conversation`.
    `last_number` is the highest turn number that the session ever had.
    """

    def __init__(
        self, conversation: Conversation, record: Record, past: Effective | None = None, last_number: int = 0
    ) -> None:
        self.conversation = conversation
        self._record = record
        self._log = past.kept if past else []
        self._dropped = past.dropped if past else []
        self._last_number = last_number
        self._open: list[int] = []
        self._recorded = 0
        self._preamble_recorded = False

    @property
    def next_number(self) -> int:
        """The number of the turn that begins next."""
        return self._last_number + 1

    @property
    def open_tokens(self) -> int:
        """The number of tokens sampled so far in the open generation."""
        return len(self._open)

    def prompt_ids(self) -> list[int]:
        """The tokens that the engine continues: the conversation, and the open generation if there is one."""
        return [*self.conversation.prompt_ids(), *self._open]

    def turns(self) -> tuple[TurnSummary, ...]:
        """The turns that were not dropped, oldest first."""
        return turns(self._log)

    def set_preamble(self, preamble: Preamble) -> None:
        """Replace the system and developer messages of the conversation."""
        if preamble != self.conversation.preamble or not self._preamble_recorded:
            self.conversation.set_preamble(preamble)
            self._write("preamble", preamble=preamble_to_dict(preamble))
            self._preamble_recorded = True

    def add_user(self, text: str, preamble: Preamble, edits: str = "") -> None:
        """Begin a turn with the user's message and a possibly new preamble.

        `edits` is the name under which the undo store keeps the changes of the turn.
        """
        self.set_preamble(preamble)
        self.conversation.add_user(text)
        self._last_number += 1
        self._dropped.clear()
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        self._write("user", turn=self._last_number, text=text, time=time, edits=edits)

    def add_steering(self, text: str) -> None:
        """Add a message that the user sent during the turn."""
        self.conversation.add_steering(text)
        self._write("steer", text=text)

    def add_sampled(self, token_ids: Sequence[int]) -> None:
        """Add sampled tokens to the open generation; opens one if there is none."""
        self._open += token_ids

    def flush(self) -> None:
        """Record the sampled ids that have not been recorded yet."""
        if self._recorded < len(self._open):
            self._write("ids", ids=self._open[self._recorded :])
            self._recorded = len(self._open)

    def end_generation(self) -> list[Message]:
        """Add the open generation to the conversation and return its messages. A cut-off message is closed."""
        if not self._open:
            return []
        self.flush()
        messages = self.conversation.append_sampled(self._open)
        self._write("end")
        self._open, self._recorded = [], 0
        return messages

    def add_tool_reply(self, recipient: str, text: str, channel: str | None) -> None:
        """Add a tool's reply, on the channel of its call."""
        self.conversation.add_tool_reply(recipient, text, channel)
        self._write("tool", name=recipient, text=text, channel=channel)

    def add_files(self, paths: Sequence[str]) -> None:
        """Record that a call of the turn changed these files."""
        if paths:
            self._write("files", paths=list(paths))

    def begin_again(self, texts: Sequence[str]) -> None:
        """Replace all earlier messages with these user messages. The turns stay in the log."""
        self.conversation.begin_again(texts)
        self._write("compact", texts=list(texts))

    def rewind(self, tokenizer: Tokenizer, number: int) -> str:
        """Drop turn `number` and everything after it, and return its message. Raises UsageError for an unknown turn."""
        text = find_turn(self.turns(), number).text
        log = before_turn(self._log, number)
        dropped = self._log[len(log) :]
        self._go_to(tokenizer, log)
        self._dropped.append(dropped)
        self._record({"type": "history", "op": "rewind", "turn": number})
        return text

    def forked(self, tokenizer: Tokenizer, number: int | None) -> None:
        """Adapt to a fork of the session file: drop turn `number` and everything after it, and what can be redone."""
        if number is not None:
            self._go_to(tokenizer, before_turn(self._log, number))
        self._dropped.clear()

    def dropped_turns(self) -> tuple[TurnSummary, ...]:
        """The turns that the last rewind dropped, oldest first; empty when nothing can be restored."""
        return turns(self._dropped[-1]) if self._dropped else ()

    def redo(self, tokenizer: Tokenizer) -> None:
        """Restore what the last rewind dropped. There must be such a rewind."""
        self._go_to(tokenizer, [*self._log, *self._dropped[-1]])
        self._dropped.pop()
        self._record({"type": "history", "op": "redo"})

    def edits_of(self, number: int) -> str:
        """The name of a turn's changes in the undo store, also for a dropped turn; empty when it has none."""
        for operation in (*self._log, *(op for dropped in self._dropped for op in dropped)):
            if operation["op"] == "user" and operation["turn"] == number:
                return str(operation.get("edits", ""))
        return ""

    def _go_to(self, tokenizer: Tokenizer, log: list[Operation]) -> None:
        self.conversation = replay(tokenizer, log) or Conversation(tokenizer, self.conversation.preamble)
        self._log = log
        self._preamble_recorded = False

    def _write(self, op: str, **fields: Any) -> None:
        operation = {"type": "history", "op": op, **fields}
        self._log.append(operation)
        self._record(operation)


def find_turn(among: Sequence[TurnSummary], number: int) -> TurnSummary:
    """The turn with that number. Raises UsageError when there is none."""
    for turn in among:
        if turn.number == number:
            return turn
    raise UsageError(f"The conversation has no turn {number}")


def final_header(tokenizer: Tokenizer) -> list[int]:
    """The tokens `<|channel|>final<|message|>`. After `<|start|>assistant`, they make the model write its answer."""
    return [CHANNEL, *tokenizer.encode("final"), MESSAGE]


def restore_history(tokenizer: Tokenizer, state: SessionState, preamble: Preamble, record: Record) -> History:
    """Rebuild the history of a session; `preamble` is used when it has no turns. Raises SessionError if damaged."""
    try:
        operations = number_turns(state.history)
        past = effective(operations)
        conversation = replay(tokenizer, past.kept) or Conversation(tokenizer, preamble)
        return History(conversation, record, past, last_turn(operations))
    except (*DAMAGED, HarmonyError) as error:
        raise SessionError(f"The conversation in {state.path} cannot be rebuilt: {error!r}") from error
