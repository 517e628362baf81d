"""A conversation as token ids: what the model has read and written, ready to be continued.

Within a turn, tokens are only appended: sampled tokens are kept exactly as sampled, so the engine's KV cache stays
valid and the model sees its own output. When the next user message arrives, the chain of thought of the finished turn
is dropped, so the prompt's prefix changes at most once per turn. Tool traffic on the analysis channel (calls of the
built-in browser and python tools, and their output) is dropped with it, as in the models' training; calls on the
commentary channel stay.

A malformed message is stored as it was understood, not as it was sampled, so the history is always valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from gptoss_tui.errors import SessionError
from gptoss_tui.harmony.messages import (
    Message,
    Preamble,
    message_from_dict,
    message_to_dict,
    preamble_from_dict,
    preamble_to_dict,
)
from gptoss_tui.harmony.parser import MessageFinished, StreamParser
from gptoss_tui.harmony.render import assistant_start, render_message, render_preamble
from gptoss_tui.harmony.tokenizer import CALL, END, ENDOFTEXT, Tokenizer
from gptoss_tui.vocabulary import VOCAB_SIZE

STATE_VERSION = 1

INTERRUPTED = "The user interrupted this call before it finished."
"""The reply to a call that has none when the next user message arrives."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message and exactly the tokens that represent it in the prompt. `turn` counts user messages from 1."""

    message: Message
    tokens: tuple[int, ...]
    turn: int


class Conversation:
    """The history after the preamble. Not thread-safe; one turn at a time.

    `tokens` are the rendered tokens of the preamble, if already known.
    """

    def __init__(self, tokenizer: Tokenizer, preamble: Preamble, tokens: Sequence[int] | None = None) -> None:
        self._tokenizer = tokenizer
        self._preamble = preamble
        self._entries: list[Entry] = []
        self._turn = 0
        self._tokens = render_preamble(tokenizer, preamble) if tokens is None else list(tokens)
        self._preamble_length = len(self._tokens)

    @property
    def preamble_length(self) -> int:
        """Tokens of the system and developer messages."""
        return self._preamble_length

    @property
    def preamble(self) -> Preamble:
        """The system and developer messages."""
        return self._preamble

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The messages after the preamble, with their tokens."""
        return tuple(self._entries)

    @property
    def turn(self) -> int:
        """The number of user messages so far."""
        return self._turn

    @property
    def tokens(self) -> list[int]:
        """Preamble and history (a copy)."""
        return list(self._tokens)

    @property
    def pending_call(self) -> Message | None:
        """The call that waits for `add_tool_reply`, if the last message is one."""
        last = self._entries[-1].message if self._entries else None
        return last if last is not None and _is_call(last) else None

    def prompt_ids(self) -> list[int]:
        """The prompt for the engine: the history and `<|start|>assistant`."""
        return [*self._tokens, *assistant_start(self._tokenizer)]

    def set_preamble(self, preamble: Preamble) -> None:
        """Replace the system and developer messages. If they differ, the whole prompt has to be prefilled again."""
        if preamble != self._preamble:
            self._preamble = preamble
            rendered = render_preamble(self._tokenizer, preamble)
            self._tokens[: self._preamble_length] = rendered
            self._preamble_length = len(rendered)

    def add_user(self, text: str) -> None:
        """Begin a turn: close the last one, drop its chain of thought, and append the user's message."""
        self.close_turn()
        kept = [entry for entry in self._entries if entry.message.channel != "analysis"]
        if len(kept) < len(self._entries):
            self._entries = kept
            self._rebuild()
        self._turn += 1
        self._append_rendered(Message("user", text))

    def add(self, message: Message, tokens: Sequence[int] | None = None) -> None:
        """Append a message of a conversation that took place elsewhere; `tokens` are its tokens, if known."""
        if tokens is None:
            self._append_rendered(message)
        else:
            self._append(Entry(message, tuple(tokens), self._turn))

    def add_steering(self, text: str) -> None:
        """Append a user message within the turn: nothing is dropped, because the turn goes on."""
        self.close_turn()
        self._append_rendered(Message("user", text))

    def begin_again(self, texts: Sequence[str]) -> None:
        """Replace the messages after the preamble with user messages of these texts. The turn count continues."""
        self._entries = []
        self._rebuild()
        for text in texts:
            self._append_rendered(Message("user", text))

    def append_sampled(self, token_ids: Sequence[int]) -> list[Message]:
        """Append one generation, which begins after the prompt's `<|start|>assistant`, and return its messages.

        A final `<|return|>` becomes `<|end|>`. A generation that was cut off inside a message is closed there; one that
        was cut off inside a header loses that header. Nothing is kept after a tool call, which ends a generation, nor
        from the point where the model writes as the user or as a tool.
        """
        parser = StreamParser(self._tokenizer)
        messages: list[Message] = []
        opening = assistant_start(self._tokenizer)
        position = 0
        for event in (*parser.feed(token_ids), *parser.finish()):
            if not isinstance(event, MessageFinished):
                continue
            if event.message.role != "assistant":
                break
            end = position + event.num_tokens
            self._append_message(event, [*opening, *token_ids[position:end]])
            messages.append(event.message)
            if _is_call(event.message):
                break
            position, opening = end, []
        return messages

    def add_tool_reply(self, name: str, text: str, channel: str | None) -> None:
        """Append a tool's reply. `name` is the recipient of the call, `channel` the channel of the call."""
        self._append_rendered(Message("tool", text, channel=channel, recipient="assistant", name=name))

    def close_turn(self) -> None:
        """Complete an interrupted turn: a call without a reply gets one that says so."""
        call = self.pending_call
        if call is not None and call.recipient is not None:
            self.add_tool_reply(call.recipient, INTERRUPTED, call.channel)

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON values, for session files."""
        return {
            "version": STATE_VERSION,
            "preamble": preamble_to_dict(self._preamble),
            "turn": self._turn,
            "entries": [
                {"turn": e.turn, "message": message_to_dict(e.message), "tokens": list(e.tokens)} for e in self._entries
            ],
        }

    @classmethod
    def from_dict(cls, tokenizer: Tokenizer, data: Mapping[str, Any]) -> Self:
        """Restore the conversation from `to_dict`, token for token. Raises SessionError for anything else."""
        if not isinstance(data, Mapping) or data.get("version") != STATE_VERSION:
            raise SessionError(
                "The saved conversation has a format that this version does not know",
                hint="open it with the version of gptoss-tui that wrote it",
            )
        try:
            conversation = cls(tokenizer, preamble_from_dict(data["preamble"]))
            conversation._turn = int(data["turn"])
            conversation._entries = [_entry_from_dict(e) for e in data["entries"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SessionError(f"The saved conversation is damaged: {error!r}") from error
        conversation._rebuild()
        return conversation

    def _append_message(self, event: MessageFinished, sampled: list[int]) -> None:
        message = event.message
        if event.recovered:
            self._append_rendered(message)
            return
        if event.stop != "eos" or sampled[-1] == ENDOFTEXT:
            sampled.pop()
        sampled.append(CALL if _is_call(message) else END)
        self._append(Entry(message, tuple(sampled), self._turn))

    def _append_rendered(self, message: Message) -> None:
        self._append(Entry(message, tuple(render_message(self._tokenizer, message)), self._turn))

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._tokens.extend(entry.tokens)

    def _rebuild(self) -> None:
        """Rebuild the entries' tokens; the preamble's are kept, because rendering it takes as long as a turn."""
        del self._tokens[self._preamble_length :]
        for entry in self._entries:
            self._tokens.extend(entry.tokens)


def _is_call(message: Message) -> bool:
    return message.role == "assistant" and message.recipient is not None


def _entry_from_dict(data: Mapping[str, Any]) -> Entry:
    tokens = tuple(int(t) for t in data["tokens"])
    if not all(0 <= t < VOCAB_SIZE for t in tokens):
        raise ValueError("a token id is outside the vocabulary")
    return Entry(message_from_dict(data["message"]), tokens, int(data["turn"]))
