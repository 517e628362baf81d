"""Where the `@@` headers of a hunk point to: the lines of the file that they open."""

from __future__ import annotations

from dataclasses import dataclass

from gptoss_tui.patch.lines import LADDER, LineIndex, indent_of

_BRACKETS = tuple(")]}{")


@dataclass(frozen=True, slots=True)
class Scope:
    """Lines `header`..`stop` (from 0) below one place where the headers stand.

    `block` says that the header opens an indented block that ends at `stop`; else `stop` is where the outer scope ends.
    """

    header: int
    stop: int
    block: bool


class Scopes:
    """Looks up headers in one file, each text once."""

    def __init__(self, index: LineIndex) -> None:
        self._index = index
        self._found: dict[str, list[Scope]] = {}

    def of(self, headers: tuple[str, ...]) -> list[Scope]:
        """The scopes of the innermost header, inside those of the outer ones. Empty when a header is missing."""
        scopes: list[Scope] | None = None
        for header in headers:
            inner = self._single(header)
            scopes = inner if scopes is None else _within(inner, scopes)
        return scopes or []

    def missing(self, headers: tuple[str, ...]) -> str:
        """The first header that has no place."""
        return next(h for n, h in enumerate(headers, 1) if not self.of(headers[:n]))

    def _single(self, header: str) -> list[Scope]:
        if header not in self._found:
            self._found[header] = [self._scope(line) for line in self._lines_of(header)]
        return self._found[header]

    def _lines_of(self, header: str) -> list[int]:
        for rung in LADDER:
            if hits := self._index.positions(rung, header):
                return hits
        return self._index.containing(header, at_start=True) or self._index.containing(header, at_start=False)

    def _scope(self, header: int) -> Scope:
        lines = self._index.lines
        depth = len(indent_of(lines[header]))
        deeper = False
        for at in range(header + 1, len(lines)):
            stripped = lines[at].strip()
            if not stripped:
                continue
            if len(indent_of(lines[at])) > depth:
                deeper = True
            elif not stripped.startswith(_BRACKETS):
                return Scope(header, at, True) if deeper else Scope(header, len(lines), False)
        return Scope(header, len(lines), deeper)


def _within(inner: list[Scope], outer: list[Scope]) -> list[Scope]:
    """The scopes of `inner` that open inside a scope of `outer`, cut to it; in the order of the file."""
    kept: dict[int, Scope] = {}
    for around in outer:
        for scope in inner:
            if around.header < scope.header < around.stop:
                kept.setdefault(scope.header, Scope(scope.header, min(scope.stop, around.stop), scope.block))
    return [kept[line] for line in sorted(kept)]
