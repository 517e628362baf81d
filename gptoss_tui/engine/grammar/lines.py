"""Matching of texts, byte by byte, in which each line depends on the lines before it.

A `Choice` says what a line may be: one of some whole lines, or anything that begins with one of a few prefixes. A
position in a line is the span of those sorted whole lines that begin with the bytes so far, so the only index of a file
is its sorted lines. A token is allowed exactly if its bytes can be matched, however the text is split into tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Choice:
    """What a line may be, without its line end: one of `whole` (sorted), or anything that begins with one of `free`.

    A free line must not be one of `denied`.
    """

    whole: tuple[bytes, ...] = ()
    free: tuple[bytes, ...] = ()
    denied: frozenset[bytes] = frozenset()


class Script(Protocol[S]):
    """Defines which lines may follow each other. States are hashable."""

    def choice(self, state: S) -> Choice:
        """What the next line may be."""
        ...

    def follow(self, state: S, line: bytes) -> S:
        """The state after a line that `choice` allows."""
        ...


@dataclass(frozen=True, slots=True)
class Place(Generic[S]):
    """A position in a line: the bytes `written` so far, and the span of whole lines that begin with them."""

    state: S
    choice: Choice
    written: bytes
    start: int
    stop: int

    @property
    def free(self) -> bool:
        """Whether anything may follow until the end of the line."""
        return any(self.written.startswith(beginning) for beginning in self.choice.free)

    @property
    def may_end(self) -> bool:
        """Whether the line may end here."""
        if self.start < self.stop and len(self.choice.whole[self.start]) == len(self.written):
            return True
        return self.free and self.written not in self.choice.denied

    def next_bytes(self) -> Iterator[int]:
        """The bytes that may come next in this line, unless it is free."""
        whole, at = self.choice.whole, len(self.written)
        index = self.start
        while index < self.stop:
            line = whole[index]
            if len(line) == at:
                index += 1
                continue
            yield line[at]
            index = bisect_left(whole, _above(line[: at + 1]), index, self.stop)
        for beginning in self.choice.free:
            if len(beginning) > at and beginning.startswith(self.written):
                yield beginning[at]


def begin(script: Script[S], state: S) -> Place[S]:
    """The beginning of the next line in `state`."""
    choice = script.choice(state)
    return Place(state, choice, b"", 0, len(choice.whole))


def run(script: Script[S], place: Place[S], data: bytes) -> Place[S] | None:
    """The position after `data`, or None if `data` is not allowed here."""
    *lines, last = data.split(b"\n")
    for rest in lines:
        ended = _within(place, rest)
        if ended is None or not ended.may_end:
            return None
        place = begin(script, script.follow(ended.state, ended.written))
    return _within(place, last)


def _within(place: Place[S], rest: bytes) -> Place[S] | None:
    """The position after `rest` in the same line, or None if it is not allowed."""
    if not rest:
        return place
    written = place.written + rest
    whole = place.choice.whole
    start = bisect_left(whole, written, place.start, place.stop)
    stop = bisect_left(whole, _above(written), start, place.stop)
    if start == stop and not any(
        written.startswith(beginning) or beginning.startswith(written) for beginning in place.choice.free
    ):
        return None
    return Place(place.state, place.choice, written, start, stop)


def _above(prefix: bytes) -> bytes:
    """An upper bound for everything that begins with `prefix`. Lines are UTF-8, which has no byte 255."""
    return prefix[:-1] + bytes([min(prefix[-1] + 1, 255)])
