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
"""The log-probability of a token of which the server told none."""

Ended = Literal["stop", "length"]

_WRONG_SHAPE = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)


class TextReader(Protocol):
    """The text of one generation, as it comes, to token ids."""

    def feed(self, text: str) -> list[int]: ...

    def finish(self, stopped: bool) -> list[int]: ...


class PartsReader(Protocol):
    """A generation that the server has taken apart, to token ids."""

    def thought(self, text: str) -> list[int]: ...

    def said(self, text: str) -> list[int]: ...

    def called(self, name: str, arguments: str) -> list[int]: ...

    def finish(self, stopped: bool) -> list[int]: ...


class TextForm(Protocol):
    """What an engine has to know of the conversation's format. It knows ids only: who makes it brings this."""

    stops: tuple[int, ...]

    def greeting(self) -> list[int]:
        """A short prompt, to try a server with."""
        ...

    def begins_message(self, token_ids: Sequence[int]) -> bool:
        """Whether this can be how a model goes on after a prompt."""
        ...

    def spell(self, token_ids: Sequence[int]) -> str: ...

    def encode(self, text: str) -> list[int]: ...

    def reader(self) -> TextReader: ...

    def parts(self, *, answering: bool) -> PartsReader: ...

    def open_header(self, prompt: list[int]) -> tuple[list[int], bool] | None:
        """The prompt up to where a message begins, and whether that of an answer had begun; None inside of one."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What one event of a stream says. `cached` tokens of the prompt were known to the server."""

    tokens: tuple[Token, ...] = ()
    ended: Ended | None = None
    progress: PrefillProgress | None = None
    cached: int | None = None


class Exchange(Protocol):
    """One generation: what is sent to `path`, and how the events of the reply are read."""

    path: str
    body: dict[str, Any]

    def read(self, event: Mapping[str, Any]) -> Reading:
        """Raises EngineError for an event that cannot be."""
        ...

    def finish(self, stopped: bool) -> tuple[Token, ...]:
        """What was held back, and the stop token where the server keeps it to itself."""
        ...


class Dialect(Protocol):
    """A way of talking to a server."""

    name: str

    def open(self, prompt: list[int], params: SamplingParams, room: int, schema: str | None = None) -> Exchange:
        """Begin a generation of at most `room` tokens, which follow the JSON `schema` from the first one on.

        Only a server that is known to enforce schemas is asked for one.
        """
        ...


class Scores(Protocol):
    """A dialect that also tells the probabilities of a prompt."""

    def score_body(self, token_ids: list[int], top: int) -> tuple[str, dict[str, Any]]:
        """Path and body of the request."""
        ...

    def read_scores(self, reply: Mapping[str, Any], token_ids: list[int], top: int) -> list[ScoredPosition]:
        """Raises EngineError."""
        ...


def read_event(exchange: Exchange, event: Mapping[str, Any]) -> Reading:
    """As `Exchange.read`, also for what nobody thought of. Raises EngineError."""
    try:
        return exchange.read(event)
    except _WRONG_SHAPE as error:
        raise unreadable() from error


def unreadable() -> EngineError:
    """The error for a reply of another shape than the server's kind has."""
    return EngineError("The server's reply cannot be read: its format is unexpected")


def plain_tokens(token_ids: Iterable[int]) -> tuple[Token, ...]:
    """Tokens of which nothing else is known."""
    return tuple(Token(token, UNKNOWN) for token in token_ids)


def checked_token(value: Any) -> int:
    """A token id of a server's. Raises EngineError for anything else."""
    if type(value) is not int or not 0 <= value < VOCAB_SIZE:
        raise EngineError("The server sends tokens that gpt-oss does not have", hint="does it run a gpt-oss model?")
    return value


def number(value: Any) -> float:
    """A log-probability of a server's, or that it is unknown."""
    told = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if told else UNKNOWN


def ranked(pairs: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Alternatives, the likeliest first, without those of which nothing is known."""
    known = (pair for pair in pairs if not math.isnan(pair[1]))
    return tuple(sorted(known, key=lambda pair: -pair[1]))


def count(value: Any) -> int | None:
    """A number of tokens, where the server tells one."""
    return value if type(value) is int and value >= 0 else None
