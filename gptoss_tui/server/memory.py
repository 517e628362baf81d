"""Token ids of messages that were seen before: a conversation that comes again is not tokenised again.

What the model itself wrote is kept as it was sampled. A client sends it back as text, and the same text rendered may be
other tokens: a header in another order, a word cut elsewhere. With the sampled ones the prompt begins as the engine
knows it already, and nothing has to be read twice.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.render import render_message
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.encoding import PART, encode_in_parts

MAX_TOKENS = 4_000_000
"""16 MB: some dozens of conversations that fill the context."""

_Key = tuple[str | None, ...]


class MessageMemory:
    """Messages to tokens; those used last stay."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._size = 0
        self._tokens: OrderedDict[_Key, array[int]] = OrderedDict()

    def tokens_of(self, message: Message) -> tuple[int, ...]:
        """The tokens that stand for a message in a prompt."""
        key = _key(message)
        known = self._tokens.get(key)
        if known is not None:
            self._tokens.move_to_end(key)
            return tuple(known)
        tokens = render_message(self._tokenizer, message)
        self.remember(message, tokens)
        return tuple(tokens)

    async def learn(self, messages: Iterable[Message]) -> None:
        """Have the tokens of messages ready, long ones a part at a time."""
        for message in messages:
            if len(message.content) > PART and _key(message) not in self._tokens:
                content = await encode_in_parts(self._tokenizer, message.content)
                shell = render_message(self._tokenizer, replace(message, content=""))
                self.remember(message, [*shell[:-1], *content, shell[-1]])

    def remember(self, message: Message, tokens: Sequence[int]) -> None:
        """These are the tokens of a message."""
        key = _key(message)
        if key in self._tokens:
            self._size -= len(self._tokens.pop(key))
        self._tokens[key] = array("I", tokens)
        self._size += len(tokens)
        while self._size > self._max_tokens and len(self._tokens) > 1:
            self._size -= len(self._tokens.popitem(last=False)[1])


def _key(message: Message) -> _Key:
    """What a client can send back of a message. Of a call that is its name and its arguments, not its channel."""
    if message.role == "assistant" and message.recipient is not None:
        return ("call", message.recipient, message.content)
    return (message.role, message.name, message.channel, message.recipient, message.content)
