"""What all ways of talking to a server have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gptoss_tui.engine.types import PrefillProgress, SamplingParams, ScoredPosition, Token
from gptoss_tui.errors import EngineError
from gptoss_tui.vocabulary import VOCAB_SIZE

UNKNOWN = float("nan")
"""The log-probability of a token for which the server reported none."""

Ended = Literal["stop", "length"]

_WRONG_SHAPE = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)


class TextReader(Protocol):
    """Converts the text of one generation to token ids as it streams."""

    def feed(self, text: str) -> list[int]:
        """Add text; returns the ids that are certain by now."""
        ...

    def finish(self, stopped: bool) -> list[int]:
        """The remaining ids, with the stop token if the model `stopped` by itself: servers do not send it."""
        ...


class PartsReader(Protocol):
    """Converts a generation that the server has parsed to token ids."""

    def thought(self, text: str) -> list[int]:
        """Ids for more of a thought."""
        ...

    def said(self, text: str) -> list[int]:
        """Ids for more of an answer."""
        ...

    def called(self, name: str, arguments: str) -> list[int]:
        """Ids for a call of the function `name`."""
        ...

    def finish(self, stopped: bool) -> list[int]:
        """The id that ended the generation, if the model `stopped` by itself."""
        ...


class TextForm(Protocol):
    """What an engine must know about the conversation's format. It knows only ids, so its creator provides this."""

    stops: tuple[int, ...]

    def greeting(self) -> list[int]:
        """A short prompt, for testing a server."""
        ...

    def begins_message(self, token_ids: Sequence[int]) -> bool:
        """Whether a model may continue a prompt like this."""
        ...

    def spell(self, token_ids: Sequence[int]) -> str:
        """The text of a prompt, with control tokens spelled out."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of text that has no control tokens spelled out."""
        ...

    def reader(self) -> TextReader:
        """A reader for one generation."""
        ...

    def parts(self, *, answering: bool) -> PartsReader:
        """A reader for a generation that the server parses. `answering`: the prompt ends with an answer's header."""
        ...

    def open_header(self, prompt: list[int]) -> tuple[list[int], bool] | None:
        """The prompt up to a message's start, and whether an answer's header was cut off; None inside a message."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """The contents of one event of a stream. The server had `cached` tokens of the prompt."""

    tokens: tuple[Token, ...] = ()
    ended: Ended | None = None
    progress: PrefillProgress | None = None
    cached: int | None = None


class Exchange(Protocol):
    """One generation: what is sent to `path`, and how to read the events of the reply."""

    path: str
    body: dict[str, Any]

    def read(self, event: Mapping[str, Any]) -> Reading:
        """Read one event. Raises EngineError if it is invalid."""
        ...

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        """Return tokens that were held back, and the stop token if the server does not send it."""
        ...


class Dialect(Protocol):
    """A way of talking to a server."""

    name: str

    def open(self, prompt: list[int], params: SamplingParams, room: int, schema: str | None = None) -> Exchange:
        """Begin a generation of at most `room` tokens, which must follow the JSON `schema` from the first token on.

        `schema` is only used with servers that are known to enforce schemas.
        """
        ...


class Scores(Protocol):
    """A dialect that also provides the probabilities of a prompt's tokens."""

    def score_body(self, token_ids: list[int], top: int) -> tuple[str, dict[str, Any]]:
        """Path and body of the request."""
        ...

    def read_scores(self, reply: Mapping[str, Any], token_ids: list[int], top: int) -> list[ScoredPosition]:
        """Read the scores from a reply. Raises EngineError."""
        ...


def read_event(exchange: Exchange, event: Mapping[str, Any]) -> Reading:
    """Like `Exchange.read`, but an event of an unexpected shape also raises EngineError."""
    try:
        return exchange.read(event)
    except _WRONG_SHAPE as error:
        raise unreadable() from error


def unreadable() -> EngineError:
    """The error for a reply with an unexpected shape."""
    return EngineError("The server's reply cannot be read: its format is unexpected")


def plain_tokens(token_ids: Iterable[int]) -> tuple[Token, ...]:
    """Tokens without log-probabilities."""
    return tuple(Token(token, UNKNOWN) for token in token_ids)


def checked_token(value: Any) -> int:
    """A token id from a server. Raises EngineError for anything else."""
    if type(value) is not int or not 0 <= value < VOCAB_SIZE:
        raise EngineError("The server sends tokens that gpt-oss does not have", hint="does it run a gpt-oss model?")
    return value


def number(value: Any) -> float:
    """A log-probability from a server, or `UNKNOWN`."""
    told = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if told else UNKNOWN


def ranked(pairs: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Alternatives, most likely first, without those of unknown probability."""
    known = (pair for pair in pairs if not math.isnan(pair[1]))
    return tuple(sorted(known, key=lambda pair: -pair[1]))


def count(value: Any) -> int | None:
    """A number of tokens, if the server reported one."""
    return value if type(value) is int and value >= 0 else None
