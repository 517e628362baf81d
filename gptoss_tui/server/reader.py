"""Reads one generation as it streams: sampled tokens in, pieces of messages out, cut off at a stop sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gptoss_tui.engine.types import Token
from gptoss_tui.harmony.parser import ContentDelta, MessageFinished, MessageStarted, StreamParser
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.stops import StopFilter
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS

Kind = Literal["reasoning", "preamble", "answer", "call", "foreign"]
"""A thought; text for the user before a call; the answer; a call; a message written in another role's name."""

TEXTS: tuple[Kind, ...] = ("preamble", "answer")
"""Kinds that the user reads; only these are searched for stop sequences."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A message begins. `recipient` is the tool that it calls."""

    kind: Kind
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """More of the open message, with the tokens of that text."""

    kind: Kind
    text: str
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """The open message has ended. It is not `complete` if the generation was cut off inside it."""

    kind: Kind
    text: str
    recipient: str = ""
    channel: str | None = None
    complete: bool = True


Piece = Opened | Delta | Closed


class Reader:
    """Reads one generation, which begins after `<|start|>assistant`.

    A call, an answer, a message in another role's name or a stop sequence ends it; then it is `over` and further tokens
    do not count. `taken` are the sampled ids that count; `reasoning_tokens` is the number of tokens in thoughts.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._parser = StreamParser(tokenizer)
        self._stops = tuple(stops)
        self._filter = StopFilter(())
        self._open: Opened | None = None
        self._shown: list[str] = []
        self._text: list[str] = []
        self._tokens: list[Token] = []
        self._bytes = 0
        self._ended = False
        self.over = False
        self.stopped = False
        self.taken: list[int] = []
        self.reasoning_tokens = 0
        self.closed: list[Closed] = []

    def feed(self, tokens: Sequence[Token]) -> list[Piece]:
        """Return the pieces for these tokens. The text of a message comes as one delta."""
        pieces: list[Piece] = []
        for token in tokens:
            if self.over:
                break
            self.taken.append(token.id)
            before = self._open
            for event in self._parser.feed((token.id,)):
                self._take(event, pieces)
            if before is not None and self._open is before and 0 <= token.id < NUM_TEXT_TOKENS:
                self._tokens.append(token)
        self._flush(pieces)
        return pieces

    def finish(self) -> list[Piece]:
        """End the generation, complete or not; an open message is closed with what it has. Idempotent."""
        pieces: list[Piece] = []
        if not self._ended and not self.stopped:
            for event in self._parser.finish():
                self._take(event, pieces)
        self._ended = True
        return pieces

    def _take(self, event: MessageStarted | ContentDelta | MessageFinished, pieces: list[Piece]) -> None:
        if self.over:
            return
        match event:
            case MessageStarted():
                self._open = Opened(_kind(event), event.recipient or "")
                self._filter = StopFilter(self._stops if self._open.kind in TEXTS else ())
                self.over = self._open.kind == "foreign"
                if not self.over:
                    pieces.append(self._open)
            case ContentDelta():
                self._text.append(event.text)
            case MessageFinished():
                self._close(event, pieces)

    def _close(self, event: MessageFinished, pieces: list[Piece]) -> None:
        self._flush(pieces, last=True)
        if self._open is None:
            return  # a stop sequence closed it
        kind = self._open.kind
        if kind == "reasoning":
            self.reasoning_tokens += event.num_tokens
        self._end_message(pieces, event.message.channel, complete=event.stop != "eos")
        self.over = self.over or kind in ("answer", "call", "foreign")

    def _take_tokens(self, text: str) -> tuple[Token, ...]:
        """The tokens of the text shown: those whose bytes are all out by now. Others may never be shown."""
        self._bytes += len(text.encode())
        count = 0
        for token in self._tokens:
            size = len(self._tokenizer.token_bytes(token.id))
            if size > self._bytes:
                break
            self._bytes -= size
            count += 1
        taken = tuple(self._tokens[:count])
        del self._tokens[:count]
        return taken

    def _end_message(self, pieces: list[Piece], channel: str | None, *, complete: bool) -> None:
        assert self._open is not None
        closed = Closed(self._open.kind, "".join(self._shown), self._open.recipient, channel, complete)
        pieces.append(closed)
        self.closed.append(closed)
        self._open, self._shown, self._tokens, self._bytes = None, [], [], 0

    def _flush(self, pieces: list[Piece], *, last: bool = False) -> None:
        """Emit the text that has arrived, except a stop sequence or what may become one."""
        if self._open is None:
            return
        text = "".join(self._text)
        self._text.clear()
        text = self._filter.feed(text) if text else ""
        if last:
            text += self._filter.finish()
        if text:
            self._shown.append(text)
            pieces.append(Delta(self._open.kind, text, self._take_tokens(text)))
        if self._filter.found:
            self._end_message(pieces, "final" if self._open.kind == "answer" else "commentary", complete=True)
            self.over = self.stopped = True


def _kind(event: MessageStarted) -> Kind:
    if event.role != "assistant":
        return "foreign"
    if event.recipient is not None:
        return "call"
    if event.channel == "analysis":
        return "reasoning"
    return "preamble" if event.channel == "commentary" else "answer"
