"""Token ids of messages that were seen before: a conversation that comes again is not tokenised again.

What the model itself wrote is kept as it was sampled. A client sends it back as text, and the same text rendered may be
other tokens: a header in another order, a word cut elsewhere. With the sampled ones the prompt begins as the engine
knows it already, and nothing has to be read twice.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.render import render_message
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.encoding import PART, SMALL, PartEncoder

MAX_TOKENS = 4_000_000
"""16 MB: some dozens of conversations that fill the context."""

_SHELL_COST = 100
"""What the header of a message costs to encode, in characters of content."""

_Key = tuple[str | None, ...]


class MessageMemory:
    """Messages to tokens; those used last stay. `encoder` is for other texts of requests."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS) -> None:
        self._tokenizer = tokenizer
        self.encoder = PartEncoder(tokenizer)
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
        """Have the tokens of messages ready, a part at a time."""
        unknown = [message for message in messages if _key(message) not in self._tokens]
        if sum(map(_cost, unknown)) <= SMALL:
            self._learn_all(unknown)  # waiting for a turn would take longer
            return
        for batch in _batches(unknown):
            if len(batch) == 1 and len(batch[0].content) > PART:
                await self._learn_long(batch[0])
            else:
                async with self.encoder.part():
                    self._learn_all(batch)

    def _learn_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.tokens_of(message)

    async def _learn_long(self, message: Message) -> None:
        content = await self.encoder.encode(message.content)
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


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """The messages in lists that are a part of work each; one that is longer stands alone."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        cost = _cost(message)
        if batch and size + cost > PART:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += cost
    if batch:
        yield batch


def _cost(message: Message) -> int:
    return len(message.content) + _SHELL_COST


def _key(message: Message) -> _Key:
    """What a client can send back of a message. Of a call that is its name and its arguments, not its channel."""
    if message.role == "assistant" and message.recipient is not None:
        return ("call", message.recipient, message.content)
    return (message.role, message.name, message.channel, message.recipient, message.content)
