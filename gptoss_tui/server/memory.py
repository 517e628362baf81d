"""Remembers the token ids of messages, so that a conversation that comes again is not tokenised again.

Messages that the model wrote are kept as they were sampled. A client sends them back as text, and rendering that text
may give other tokens: a header in another order, a word split elsewhere. With the sampled tokens, the prompt begins
exactly like what the engine has cached, and nothing has to be run again.
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
"""16 MB: a few dozen conversations that fill the context."""

_SHELL_COST = 100
"""The cost of encoding a message's header, as a number of characters of content."""

_Key = tuple[str | None, ...]


class MessageMemory:
    """Maps messages to tokens; the most recently used stay. `encoder` is for other texts in requests."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int = MAX_TOKENS) -> None:
        self._tokenizer = tokenizer
        self.encoder = PartEncoder(tokenizer)
        self._max_tokens = max_tokens
        self._size = 0
        self._tokens: OrderedDict[_Key, array[int]] = OrderedDict()

    def tokens_of(self, message: Message) -> tuple[int, ...]:
        """The tokens that represent a message in a prompt."""
        key = _key(message)
        known = self._tokens.get(key)
        if known is not None:
            self._tokens.move_to_end(key)
            return tuple(known)
        tokens = render_message(self._tokenizer, message)
        self.remember(message, tokens)
        return tuple(tokens)

    async def learn(self, messages: Iterable[Message]) -> None:
        """Encode messages in advance, a part at a time."""
        unknown = [message for message in messages if _key(message) not in self._tokens]
        if sum(map(_cost, unknown)) <= SMALL:
            self._learn_all(unknown)  # faster than waiting for a turn
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
        """Store the tokens of a message."""
        key = _key(message)
        if key in self._tokens:
            self._size -= len(self._tokens.pop(key))
        self._tokens[key] = array("I", tokens)
        self._size += len(tokens)
        while self._size > self._max_tokens and len(self._tokens) > 1:
            self._size -= len(self._tokens.popitem(last=False)[1])


def _batches(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Group messages into batches of one part's work each; a message longer than that is alone in its batch."""
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
    """The parts of a message that a client can send back. For a call these are name and arguments, not the channel."""
    if message.role == "assistant" and message.recipient is not None:
        return ("call", message.recipient, message.content)
    return (message.role, message.name, message.channel, message.recipient, message.content)
