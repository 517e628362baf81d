"""Token streams written as text: `<|channel|>final<|message|>Hi<|return|>`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.parser import ContentDelta, MessageFinished, MessageStarted, ParserEvent, StreamParser
from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, load_tokenizer

SPECIAL_IDS = {text: token for token, text in SPECIAL_TOKENS.items()}


def wire(text: str) -> list[int]:
    """Ids of `text`, its special tokens as special ids."""
    tokenizer = load_tokenizer()
    ids: list[int] = []
    for part in re.split(r"(<\|[a-z]+\|>)", text):
        if part in SPECIAL_IDS:
            ids.append(SPECIAL_IDS[part])
        else:
            ids += tokenizer.encode(part)
    return ids


def parse(ids: Sequence[int], *, sampled: bool = True) -> list[ParserEvent]:
    """All events of a stream that is fed at once."""
    parser = StreamParser(load_tokenizer(), sampled=sampled)
    return [*parser.feed(ids), *parser.finish()]


def parse_messages(ids: Sequence[int], *, sampled: bool = True) -> list[MessageFinished]:
    return [event for event in parse(ids, sampled=sampled) if isinstance(event, MessageFinished)]


def merge_deltas(events: Sequence[ParserEvent]) -> list[ParserEvent]:
    """The same events with neighbouring deltas as one, however they were chunked."""
    merged: list[ParserEvent] = []
    for event in events:
        last = merged[-1] if merged else None
        if isinstance(event, ContentDelta) and isinstance(last, ContentDelta):
            merged[-1] = ContentDelta(last.index, last.text + event.text)
        else:
            merged.append(event)
    return merged


def check_order(events: Sequence[ParserEvent]) -> None:
    """Every message is started, streamed and finished, in this order, and its deltas are its content."""
    index, open_, text = 0, False, ""
    for event in events:
        assert event.index == index
        if isinstance(event, MessageStarted):
            assert not open_
            open_, text = True, ""
        elif isinstance(event, ContentDelta):
            assert open_
            assert event.text
            text += event.text
        else:
            assert open_
            assert event.message.content == text
            index, open_ = index + 1, False
    assert not open_


def messages_of(conversation: Conversation) -> list[Message]:
    """The messages behind the preamble, without dropped chain of thought."""
    return [entry.message for entry in conversation.entries]
