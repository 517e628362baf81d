"""Parses token ids into messages as they stream. Never fails: it can read whatever a model can sample.

The work per token is constant: headers are bounded, content is appended, and nothing is read twice. Malformed messages
are read as well as possible, with a report in `MessageFinished.recovered`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from gptoss_tui.harmony.header import Header, Segment, is_cut_short, read_header
from gptoss_tui.harmony.messages import Message, Role
from gptoss_tui.harmony.tokenizer import (
    CALL,
    CHANNEL,
    END,
    ENDOFTEXT,
    MESSAGE,
    RETURN,
    START,
    Tokenizer,
)
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS

HEADER_LIMIT = 96
"""Tokens. A header longer than this has lost its `<|message|>`: what follows is content."""

PLAIN_WORDS = 4
"""This many words without any header token are an answer without a header (refusals look like that)."""

Stop = Literal["end", "call", "return", "eos"]

_STOPS: dict[int, Stop] = {END: "end", CALL: "call", RETURN: "return", ENDOFTEXT: "eos"}


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """A header was read; content follows. `index` numbers the parser's messages from 0."""

    index: int
    role: Role
    channel: str | None
    recipient: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """More content of message `index`: whole code points, never an empty text."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class MessageFinished:
    """A complete message.

    `num_tokens` counts the fed ids that belong to it: skipped ones before it, its header, content and stop. `stop` is
    `eos` when the stream ended (or contained `<|endoftext|>`) before the message did. `recovered` has one sentence for
    each thing that was malformed. `doubt` is the one that makes it uncertain who calls whom with what; it is empty for
    a call that may run.
    """

    index: int
    message: Message
    num_tokens: int
    stop: Stop
    recovered: tuple[str, ...] = ()
    doubt: str = ""


ParserEvent = MessageStarted | ContentDelta | MessageFinished


class StreamParser:
    """Parses one generation, which begins after the prompt's `<|start|>assistant`.

    With `sampled=False` it parses a rendered conversation instead, from its first `<|start|>`; there, messages of other
    authors are normal and are not noted.
    """

    def __init__(self, tokenizer: Tokenizer, *, sampled: bool = True) -> None:
        self._tokenizer = tokenizer
        self._sampled = sampled
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._events: list[ParserEvent] = []
        self._index = 0
        self._count = 0
        self._notes: list[str] = []
        self._doubt = ""
        self._state: Literal["header", "content", "between"] = "header" if sampled else "between"
        # Header: (special token or None, pieces of text) pairs; `_has_role` is set once `<|start|>` was sampled.
        self._segments: list[tuple[int | None, list[str]]] = [(None, [])]
        self._header_tokens = 0
        self._has_role = False
        # Content: pieces of the message, and of the delta that `feed` has not delivered yet.
        self._header: Header | None = None
        self._content: list[str] = []
        self._delta: list[str] = []
        # `<|channel|>` inside content, until it is known whether a header follows.
        self._held: list[int] = []

    @property
    def unclaimed_tokens(self) -> int:
        """Ids fed since the last finished message. After `finish`: a partial header, or junk after the last stop."""
        return self._count

    def feed(self, token_ids: Iterable[int]) -> list[ParserEvent]:
        """Return the events of these tokens. The content of a message comes as one delta per call."""
        for token in token_ids:
            self._count += 1
            if self._state == "content":
                self._on_content(token)
            elif self._state == "header":
                self._on_header(token)
            elif token == START:
                if self._count > 1:
                    self._notes.append(f"{self._count - 1} tokens between two messages were skipped")
                self._begin_header(has_role=True)
        return self._take_events()

    def finish(self) -> list[ParserEvent]:
        """End the stream: a message that is still open ends with stop `eos`."""
        if self._state == "content":
            self._release_held()
            self._finish_message("eos")
        elif self._state == "header":
            self._end_in_header("eos")
        self._state = "between"
        return self._take_events()

    def _begin_header(self, *, has_role: bool) -> None:
        self._state = "header"
        self._segments = [(None, [])]
        self._header_tokens = 0
        self._has_role = has_role

    def _on_header(self, token: int) -> None:
        if token == MESSAGE:
            self._flush_header_text()
            self._start_message(self._read_header(complete=True))
        elif token == START:
            self._restart_header()
        elif token in _STOPS:
            self._end_in_header(_STOPS[token])
        else:
            self._add_to_header(token)

    def _add_to_header(self, token: int) -> None:
        self._header_tokens += 1
        if _is_text(token):
            self._segments[-1][1].append(self._decoder.decode(self._tokenizer.token_bytes(token)))
        else:
            self._flush_header_text()
            self._segments.append((token, []))
        if self._header_tokens > HEADER_LIMIT or self._is_plain_text():
            # The decoder may hold part of a code point, which continues in the content.
            self._start_message(self._read_header(complete=False))

    def _is_plain_text(self) -> bool:
        """Whether this is text that no header begins with: several words, no special token, no `to=`."""
        if len(self._segments) > 1 or self._has_role:
            return False
        text = "".join(self._segments[0][1])
        return len(text.split()) >= PLAIN_WORDS and "to=" not in text

    def _flush_header_text(self) -> None:
        self._segments[-1][1].append(self._decoder.decode(b"", final=True))

    def _read_header(self, *, complete: bool) -> Header:
        segments: list[Segment] = [(special, "".join(pieces)) for special, pieces in self._segments]
        return read_header(segments, has_role=self._has_role, complete=complete, sampled=self._sampled)

    def _restart_header(self) -> None:
        """`<|start|>` inside a header: earlier text becomes a message of its own, anything else is dropped."""
        self._flush_header_text()
        text = "".join(piece for _, pieces in self._segments for piece in pieces)
        between_messages = self._index > 0 and not self._has_role
        header = self._read_header(complete=False)
        if header.rest.strip() and not between_messages:
            self._count -= 1
            self._start_message(header)
            self._doubt_it("the message had no end before <|start|>")
            self._finish_message("end")
            self._count = 1
        elif not between_messages:
            self._notes.append("an unfinished header was dropped")
        elif self._header_tokens:
            self._notes.append(f"text between two messages was skipped: {text[:40]!r}")
        self._begin_header(has_role=True)

    def _end_in_header(self, stop: Stop) -> None:
        """Handle a stop before `<|message|>`: an answer without a header, a message without content, or nothing."""
        self._flush_header_text()
        header = self._read_header(complete=False)
        cut_short = stop == "eos" and is_cut_short(header, has_role=self._has_role)
        said_something = bool(header.rest.strip()) and not cut_short
        if said_something or (stop != "eos" and (len(self._segments) > 1 or header.recipient)):
            self._start_message(header)
            self._finish_message(stop)
        elif stop == "end":
            self._notes.append("<|end|> without a message was skipped")
            self._begin_header(has_role=False)
        else:
            self._state = "between"

    def _start_message(self, header: Header) -> None:
        self._state = "content"
        self._header = header
        self._notes += header.notes
        self._doubt = header.doubt
        if self._index and not self._has_role:
            self._notes.append("<|start|> was missing before the message")
        self._events.append(
            MessageStarted(self._index, header.role, header.channel, header.recipient, header.content_type)
        )
        self._add_content(header.rest)

    def _on_content(self, token: int) -> None:
        if self._held:
            self._on_held(token)
        elif _is_text(token):
            self._add_content(self._decoder.decode(self._tokenizer.token_bytes(token)))
        elif token in _STOPS:
            self._finish_message(_STOPS[token])
        elif token == START:
            self._split_at_start()
        elif token == CHANNEL and self._sampled:
            self._held.append(token)
        else:
            self._add_special(token)

    def _on_held(self, token: int) -> None:
        """After `<|channel|>` inside content: a complete header starts a new message, anything else is text."""
        if token == MESSAGE:
            header = self._header_of_held()
            if header.channel_known:
                held = len(self._held) + 1
                self._held.clear()
                self._count -= held
                self._doubt_it("the message had no end before the next header")
                self._finish_message("end")
                self._count = held
                self._start_message(header)
                return
        elif len(self._held) < HEADER_LIMIT and token not in (START, CHANNEL, *_STOPS):
            self._held.append(token)
            return
        self._release_held()
        self._on_content(token)

    def _header_of_held(self) -> Header:
        segments: list[Segment] = [(None, "")]
        text: list[int] = []
        special: int | None = None
        for token in self._held:
            if _is_text(token):
                text.append(token)
                continue
            segments.append((special, self._tokenizer.decode(text)))
            special, text = token, []
        segments.append((special, self._tokenizer.decode(text)))
        return read_header(segments, has_role=False, complete=True)

    def _release_held(self) -> None:
        held, self._held = self._held, []
        for token in held:
            if _is_text(token):
                self._add_content(self._decoder.decode(self._tokenizer.token_bytes(token)))
            else:
                self._add_special(token)

    def _add_special(self, token: int) -> None:
        spelled = self._tokenizer.decode([token])
        is_first = not any(piece.strip() for piece in self._content)
        self._add_content(self._decoder.decode(b"", final=True) + spelled)
        note = f"{spelled} inside the content was kept as text"
        if is_first:
            self._doubt_it(f"{spelled} stood where the content begins, and was kept as text")
        elif note not in self._notes:
            self._notes.append(note)

    def _split_at_start(self) -> None:
        """`<|start|>` is never text: the message before it has lost its end."""
        self._count -= 1
        self._doubt_it("the message had no end before <|start|>")
        self._finish_message("end")
        self._count = 1
        self._begin_header(has_role=True)

    def _doubt_it(self, note: str) -> None:
        """Note that the beginning or the end of the content had to be guessed."""
        self._notes.append(note)
        self._doubt = self._doubt or note

    def _add_content(self, text: str) -> None:
        if text:
            self._content.append(text)
            self._delta.append(text)

    def _finish_message(self, stop: Stop) -> None:
        self._add_content(self._decoder.decode(b"", final=True))
        self._flush_delta()
        assert self._header is not None  # a message was started
        header = self._header
        message = Message(
            header.role,
            "".join(self._content),
            channel=header.channel,
            recipient=header.recipient,
            content_type=header.content_type,
            name=header.name,
        )
        self._note_stop(message, stop)
        self._events.append(MessageFinished(self._index, message, self._count, stop, tuple(self._notes), self._doubt))
        self._index += 1
        self._count = 0
        self._content, self._notes, self._doubt, self._header = [], [], "", None
        # After <|end|> a sampled stream may continue without <|start|>; after the other stops nothing is expected.
        self._begin_header(has_role=False)
        if stop != "end" or not self._sampled:
            self._state = "between"

    def _note_stop(self, message: Message, stop: Stop) -> None:
        if message.role != "assistant":
            return
        if stop == "call" and message.recipient is None:
            self._notes.append("<|call|> ended a message that calls nothing")
        if stop in ("end", "return") and message.recipient is not None:
            self._notes.append(f"the call ended with <|{stop}|> instead of <|call|>")

    def _flush_delta(self) -> None:
        if self._delta:
            self._events.append(ContentDelta(self._index, "".join(self._delta)))
            self._delta = []

    def _take_events(self) -> list[ParserEvent]:
        self._flush_delta()
        events, self._events = self._events, []
        return events


def _is_text(token: int) -> bool:
    return 0 <= token < NUM_TEXT_TOKENS


_ODD = re.compile(r"[^\w.:/-]")
_TAILS = ("commentary", "analysis", "final", "json", "code")


def normalize_recipient(recipient: str, known: Collection[str]) -> str | None:
    """Return the name in `known` that a sampled recipient means, or None.

    Accepts `functions.browser.search` and `functions.python` for built-in tools, a missing `functions.` prefix, and
    names followed by control text (`functions.x<|channel|>commentary`).
    """
    name = _ODD.split(recipient.strip(), maxsplit=1)[0]
    names = [name, *(name.removesuffix(tail) for tail in _TAILS if name.endswith(tail))]
    for candidate in names:
        bare = candidate.removeprefix("functions.")
        for spelled in (candidate, bare, f"functions.{bare}"):
            if spelled in known:
                return spelled
    return None
