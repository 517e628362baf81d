"""What the model has read and written, kept twice: as a `Conversation`, and line by line in the session file.

The file gets an entry for every change (`user`, `ids`, `end`, `tool`, `preamble`); playing them back in order gives the
same conversation, token for token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gptoss_tui.agent.session import SessionState
from gptoss_tui.errors import HarmonyError, SessionError
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Message, Preamble, preamble_from_dict, preamble_to_dict
from gptoss_tui.harmony.tokenizer import CHANNEL, MESSAGE, Tokenizer

Record = Callable[[Mapping[str, Any]], None]


class History:
    """A conversation with at most one open generation, whose sampled ids have arrived so far."""

    def __init__(self, conversation: Conversation, record: Record) -> None:
        self.conversation = conversation
        self._record = record
        self._open: list[int] = []
        self._recorded = 0
        self._preamble_recorded = False

    def prompt_ids(self) -> list[int]:
        """What the engine continues: the conversation, and the open generation if there is one."""
        return [*self.conversation.prompt_ids(), *self._open]

    def add_user(self, text: str, preamble: Preamble) -> None:
        """Begin a turn with the user's message, under the preamble that holds from now on."""
        if preamble != self.conversation.preamble or not self._preamble_recorded:
            self.conversation.set_preamble(preamble)
            self._write("preamble", preamble=preamble_to_dict(preamble))
            self._preamble_recorded = True
        self.conversation.add_user(text)
        self._write("user", text=text)

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

    def _write(self, op: str, **fields: Any) -> None:
        self._record({"type": "history", "op": op, **fields})


def final_header(tokenizer: Tokenizer) -> list[int]:
    """`<|channel|>final<|message|>`, behind `<|start|>assistant`: the model goes on with the answer."""
    return [CHANNEL, *tokenizer.encode("final"), MESSAGE]


def restore_conversation(tokenizer: Tokenizer, state: SessionState) -> Conversation | None:
    """The conversation of a session, None when it had no user message. Raises SessionError when it does not fit."""
    conversation: Conversation | None = None
    open_ids: list[int] = []
    try:
        for entry in state.history:
            if entry["op"] == "preamble":
                preamble = preamble_from_dict(entry["preamble"])
                conversation = conversation or Conversation(tokenizer, preamble)
                conversation.set_preamble(preamble)
            elif conversation is not None:
                open_ids = _play(conversation, entry, open_ids)
        if conversation is not None:
            _end(conversation, open_ids)
    except (KeyError, TypeError, ValueError, AttributeError, HarmonyError) as error:
        raise SessionError(f"The conversation in {state.path} cannot be rebuilt: {error!r}") from error
    return conversation


def _play(conversation: Conversation, entry: Mapping[str, Any], open_ids: list[int]) -> list[int]:
    """Apply one entry; gives the ids of the generation that is open then."""
    match entry["op"]:
        case "ids":
            return [*open_ids, *(int(i) for i in entry["ids"])]
        case "end":
            return _end(conversation, open_ids)
        case "user":
            _end(conversation, open_ids)
            conversation.add_user(str(entry["text"]))
        case "tool":
            _end(conversation, open_ids)
            conversation.add_tool_reply(str(entry["name"]), str(entry["text"]), entry["channel"])
    return []


def _end(conversation: Conversation, open_ids: list[int]) -> list[int]:
    if open_ids:
        conversation.append_sampled(open_ids)
    return []
