"""What the model has read and written, kept twice: as a `Conversation`, and as a log whose lines the session file has.

Going back to an earlier turn is playing the log back up to there.
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
    """A conversation with at most one open generation, whose sampled ids have arrived so far.

    `record` takes every line for the session file. `past` is what happened before: it has led to `conversation`.
    `last_number` is the highest number that a turn of the session ever had.
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
        """Sampled tokens of the open generation."""
        return len(self._open)

    def prompt_ids(self) -> list[int]:
        """What the engine continues: the conversation, and the open generation if there is one."""
        return [*self.conversation.prompt_ids(), *self._open]

    def turns(self) -> tuple[TurnSummary, ...]:
        """The turns that were not dropped, oldest first."""
        return turns(self._log)

    def set_preamble(self, preamble: Preamble) -> None:
        """Put the conversation under other system and developer messages from now on."""
        if preamble != self.conversation.preamble or not self._preamble_recorded:
            self.conversation.set_preamble(preamble)
            self._write("preamble", preamble=preamble_to_dict(preamble))
            self._preamble_recorded = True

    def add_user(self, text: str, preamble: Preamble, edits: str = "") -> None:
        """Begin a turn with the user's message, under the preamble that holds from now on.

        `edits` is the name under which the undo store keeps what the turn changes.
        """
        self.set_preamble(preamble)
        self.conversation.add_user(text)
        self._last_number += 1
        self._dropped.clear()
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        self._write("user", turn=self._last_number, text=text, time=time, edits=edits)

    def add_steering(self, text: str) -> None:
        """A message of the user inside the turn."""
        self.conversation.add_steering(text)
        self._write("steer", text=text)

    def add_sampled(self, token_ids: Sequence[int]) -> None:
        """More of the open generation; opens one if there is none."""
        self._open += token_ids

    def flush(self) -> None:
        """Write the sampled ids that the file does not have yet."""
        if self._recorded < len(self._open):
            self._write("ids", ids=self._open[self._recorded :])
            self._recorded = len(self._open)

    def end_generation(self) -> list[Message]:
        """Put the open generation into the conversation, closed where it was cut. Gives its messages."""
        if not self._open:
            return []
        self.flush()
        messages = self.conversation.append_sampled(self._open)
        self._write("end")
        self._open, self._recorded = [], 0
        return messages

    def add_tool_reply(self, recipient: str, text: str, channel: str | None) -> None:
        """What a tool answers, on the channel of its call."""
        self.conversation.add_tool_reply(recipient, text, channel)
        self._write("tool", name=recipient, text=text, channel=channel)

    def add_files(self, paths: Sequence[str]) -> None:
        """A call of the turn changed these files."""
        if paths:
            self._write("files", paths=list(paths))

    def begin_again(self, texts: Sequence[str]) -> None:
        """These messages of the user stand for everything before. The turns stay in the log."""
        self.conversation.begin_again(texts)
        self._write("compact", texts=list(texts))

    def rewind(self, tokenizer: Tokenizer, number: int) -> str:
        """Drop turn `number` and everything after it; gives its message. Raises UsageError when there is none."""
        text = find_turn(self.turns(), number).text
        log = before_turn(self._log, number)
        dropped = self._log[len(log) :]
        self._go_to(tokenizer, log)
        self._dropped.append(dropped)
        self._record({"type": "history", "op": "rewind", "turn": number})
        return text

    def forked(self, tokenizer: Tokenizer, number: int | None) -> None:
        """The file is that of a fork now, which has nothing from turn `number` on and nothing that was dropped."""
        if number is not None:
            self._go_to(tokenizer, before_turn(self._log, number))
        self._dropped.clear()

    def dropped_turns(self) -> tuple[TurnSummary, ...]:
        """What the last rewind dropped, oldest first; empty when nothing can come back."""
        return turns(self._dropped[-1]) if self._dropped else ()

    def redo(self, tokenizer: Tokenizer) -> None:
        """Bring back what the last rewind dropped, which must be there."""
        self._go_to(tokenizer, [*self._log, *self._dropped[-1]])
        self._dropped.pop()
        self._record({"type": "history", "op": "redo"})

    def edits_of(self, number: int) -> str:
        """The name of what a turn changed, also of one that was dropped; empty when it has none."""
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
    """The turn of that number. Raises UsageError when it is not among them."""
    for turn in among:
        if turn.number == number:
            return turn
    raise UsageError(f"The conversation has no turn {number}")


def final_header(tokenizer: Tokenizer) -> list[int]:
    """`<|channel|>final<|message|>`, behind `<|start|>assistant`: the model goes on with the answer."""
    return [CHANNEL, *tokenizer.encode("final"), MESSAGE]


def restore_history(tokenizer: Tokenizer, state: SessionState, preamble: Preamble, record: Record) -> History:
    """The history of a session; `preamble` is for one that has no turn. Raises SessionError when it is damaged."""
    try:
        operations = number_turns(state.history)
        past = effective(operations)
        conversation = replay(tokenizer, past.kept) or Conversation(tokenizer, preamble)
        return History(conversation, record, past, last_turn(operations))
    except (*DAMAGED, HarmonyError) as error:
        raise SessionError(f"The conversation in {state.path} cannot be rebuilt: {error!r}") from error
