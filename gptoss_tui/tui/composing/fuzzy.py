"""Fuzzy matching of short queries: the letters must appear in order, and score best where words begin.

`rank` examines every text of a small list. `FuzzyIndex` holds many paths and scores a bounded number of them: the
regular expression that finds candidates releases the GIL, so a search in a thread does not block the screen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_SCORED = 2000
"""How many candidates are scored one by one; better kinds of matches are taken first."""

_CONSECUTIVE, _BOUNDARY, _BASENAME = 8, 10, 12
_GAP = 1
_MAX_GAP = 12
_SEPARATORS = frozenset("/\\_-. :")


@dataclass(frozen=True, slots=True)
class Match:
    """A matching text, the positions of the query's characters in it, and its score: higher is better."""

    text: str
    positions: tuple[int, ...]
    score: int


def match(query: str, text: str) -> Match | None:
    """Match `query` against `text`, ignoring case and spaces; None when a character is missing.

    Two alignments are tried, from the start and from the last path component; the better one wins.
    """
    wanted = "".join(query.split()).lower()
    if not wanted:
        return Match(text, (), 0)
    lowered = text.lower()
    if len(lowered) != len(text):  # lower() changed the length (as with İ): lower each character on its own
        lowered = "".join(char.lower()[:1] for char in text)
    name = text.rstrip("/").rfind("/") + 1
    found = [_align(wanted, lowered, start) for start in {0, name}]
    matches = [Match(text, places, _score(wanted, text, places, name)) for places in found if places is not None]
    return max(matches, key=lambda one: one.score, default=None)


def rank(query: str, texts: Iterable[str], limit: int) -> list[Match]:
    """The best `limit` matches, best first; of equal scores the shorter text first, then the order given."""
    found = [one for text in texts if (one := match(query, text)) is not None]
    found.sort(key=lambda one: (-one.score, len(one.text)) if query.strip() else (0, 0))
    return found[:limit]


class FuzzyIndex:
    """Many texts without newlines, searchable with a bounded amount of work."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        lowered = [text.lower() for text in self.texts]
        self._blob = "\n" + "\n".join(lowered) + "\n"
        self._starts = [1]
        for text in lowered:
            self._starts.append(self._starts[-1] + len(text) + 1)

    def search(self, query: str, limit: int, stopped: Callable[[], bool] = lambda: False) -> list[Match]:
        """The best `limit` matches among at most MAX_SCORED candidates; empty if `stopped` returns True meanwhile."""
        wanted = "".join(query.split()).lower()
        if not wanted:
            return [Match(text, (), 0) for text in self.texts[:limit]]
        chosen: dict[int, None] = {}
        for place in self._places(wanted):
            if stopped():
                return []
            chosen[bisect_right(self._starts, place) - 1] = None
            if len(chosen) >= MAX_SCORED:
                break
        return rank(query, (self.texts[number] for number in chosen), limit)

    def _places(self, wanted: str) -> Iterator[int]:
        """Offsets of matches in the blob, better kinds first: at the start of a name, inside it, letters in order."""
        for literal in (f"\n{wanted}", f"/{wanted}", wanted):
            at = -1
            while (at := self._blob.find(literal, at + 1)) >= 0:
                yield at + (literal[0] == "\n")
        import regex  # here, so that the first frame does not wait for it

        first, *others = (regex.escape(char, literal_spaces=True) for char in wanted)
        letters = first + "".join(f"[^{char}\\n]*+{char}" for char in others)
        for found in regex.finditer(rf"{letters}[^\n]*+", self._blob, concurrent=True):
            yield found.start()


def _align(wanted: str, lowered: str, start: int) -> tuple[int, ...] | None:
    """Positions of the characters from `start` on, moved right where that joins them to the next one."""
    places: list[int] = []
    at = start
    for char in wanted:
        at = lowered.find(char, at)
        if at < 0:
            return None
        places.append(at)
        at += 1
    # From the end backwards, each character moves next to its successor if it also occurs there.
    for index in range(len(places) - 2, -1, -1):
        before = places[index + 1] - 1
        if places[index] != before and lowered[before] == wanted[index]:
            places[index] = before
    return tuple(places)


def _score(wanted: str, text: str, places: tuple[int, ...], name: int) -> int:
    score = 0
    last = -1
    for place in places:
        if last >= 0 and place == last + 1:
            score += _CONSECUTIVE
        else:
            score -= min(_MAX_GAP, (place - last - 1) * _GAP)
        if _begins_word(text, place):
            score += _BOUNDARY
        if place >= name:
            score += _BASENAME
        last = place
    if places[0] == name and "".join(text[name : name + len(wanted)]).lower() == wanted:
        score += _BASENAME * 2
    return score


def _begins_word(text: str, place: int) -> bool:
    before = text[place - 1] if place else "/"
    return before in _SEPARATORS or (before.islower() and text[place].isupper())
