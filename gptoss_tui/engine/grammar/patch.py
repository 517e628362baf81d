"""Patches that fit the files that they name: only existing paths, and only context and removed lines found in the file.

The grammar's text is JSON. `paths` are the files that exist (null: any path is allowed). `files` maps the paths named
so far to their lines (null: the lines are unknown, and not restricted). Missing files are waited for: the grammar of an
empty text waits before the first token, any other after each `*** Update File:` line whose file is not in `files`. A
text that is not a bare patch, such as a patch wrapped in JSON, is not restricted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from gptoss_tui.engine.grammar.lines import Choice, Place, begin, run
from gptoss_tui.engine.grammar.tokens import MASK_BYTES, NEWLINE, TokenTable, token_table, with_tokens

BEGIN, END, END_OF_FILE = b"*** Begin Patch", b"*** End Patch", b"*** End of File"
ADD, UPDATE, DELETE, MOVE = b"*** Add File:", b"*** Update File:", b"*** Delete File:", b"*** Move to:"
_NOTHING: Final = bytes(MASK_BYTES)
_KEPT_MASKS: Final = 64

Kind = Literal[
    "begin", "first", "files", "add", "update", "moved", "placed", "hunk", "closed", "unknown", "wait", "end"
]


@dataclass(frozen=True, slots=True)
class State:
    """The kind of the last line, and its file. `at`: indices of the file's lines that may come next; None means any."""

    kind: Kind
    path: bytes = b""
    at: frozenset[int] | None = None


class PatchScript:
    """A `Script` for the patches of one workspace."""

    def __init__(self, text: str) -> None:
        known = json.loads(text)
        paths: list[str] | None = known["paths"]
        self._paths = None if paths is None else frozenset(path.encode() for path in paths)
        self._files: dict[bytes, tuple[bytes, ...] | None] = {
            path.encode(): None if lines is None else tuple(line.encode() for line in lines)
            for path, lines in known["files"].items()
        }
        named = sorted(self._paths or ())
        self._heads = tuple(sorted(head + b" " + path for head in (UPDATE, DELETE) for path in named))
        self._added = frozenset(ADD + b" " + path for path in named)
        self._choices: dict[State, Choice] = {}
        self.masks: dict[tuple[State, bytes | None, bool], bytes] = {}

    def choice(self, state: State) -> Choice:
        """See `Script.choice`."""
        if (choice := self._choices.get(state)) is None:
            choice = self._choices[state] = self._choice(state)
        return choice

    def follow(self, state: State, line: bytes) -> State:
        """See `Script.follow`."""
        if line == BEGIN:
            return State("first")
        if line == END:
            return State("end")
        if line == END_OF_FILE:
            return State("closed", state.path)
        if line.startswith(UPDATE):
            return self._named(line[len(UPDATE) :].strip())
        if line.startswith(DELETE):
            return State("files")
        if line.startswith(ADD):
            return State("add")
        if line.startswith(MOVE):
            return State(state.kind if state.kind == "unknown" else "moved", state.path)
        if state.kind in ("add", "unknown"):
            return state
        if line.startswith(b"@@"):
            return State("placed", state.path)
        at = state.at if line.startswith(b"+") else self._behind(state, line[1:])
        return State("hunk", state.path, at)

    def _named(self, path: bytes) -> State:
        if path not in self._files:
            return State("wait", path)
        return State("unknown" if self._files[path] is None else "update", path)

    def _behind(self, state: State, text: bytes) -> frozenset[int]:
        """The possible positions in the file after an old line with this `text`."""
        lines = self._files[state.path] or ()
        places = range(len(lines)) if state.at is None else state.at
        return frozenset(place + 1 for place in places if place < len(lines) and lines[place] == text)

    def _choice(self, state: State) -> Choice:
        match state.kind:
            case "begin":
                return Choice((BEGIN,))
            case "first":
                return self._operations()
            case "files":
                return self._operations(END)
            case "add":
                return self._operations(END, free=(b"+",))
            case "update":
                return self._old(state, (b"+", b"@@", MOVE))
            case "placed":
                return self._old(state, (b"+", b"@@"))
            case "moved":
                return self._old(state, (b"+", b"@@"), self._operations(END))
            case "hunk":
                return self._old(state, (b"+", b"@@"), self._operations(END, END_OF_FILE))
            case "closed":
                return self._operations(END, free=(b"@@",))
            case "unknown":
                return self._operations(END, END_OF_FILE, b"", free=(b"+", b"-", b" ", b"@@", MOVE))
            case "wait" | "end":
                return Choice()

    def _operations(self, *others: bytes, free: tuple[bytes, ...] = ()) -> Choice:
        """The header of another file, or one of `others`."""
        heads = (UPDATE, DELETE) if self._paths is None else ()
        return Choice(tuple(sorted((*self._heads, *others))), (ADD, *heads, *free), self._added)

    def _old(self, state: State, free: tuple[bytes, ...], others: Choice | None = None) -> Choice:
        """A line at a current position in the file, as context or removed, or one of `others`."""
        others = others or Choice()
        lines = self._files[state.path] or ()
        places = lines if state.at is None else [lines[place] for place in state.at if place < len(lines)]
        old = {sign + text for text in places for sign in (b" ", b"-")}
        # Models often leave out the space of an empty context line.
        old |= {b""} if b"" in places else set()
        return Choice(tuple(sorted({*old, *others.whole})), (*others.free, *free), others.denied)


class PatchMatcher:
    """See `Matcher`. The grammar of an empty text restricts nothing yet and waits at once."""

    def __init__(self, text: str) -> None:
        self._script = _script(text) if text else None
        self._place: Place[State] | None = begin(self._script, State("begin")) if self._script else None

    @property
    def waits(self) -> bool:
        return self._script is None or (self._place is not None and self._place.state.kind == "wait")

    @property
    def complete(self) -> bool:
        if self._place is None:
            return self._script is not None
        return self._place.written == END or self._place.state.kind == "end"

    def mask(self) -> bytes:
        if self._script is None:
            return _NOTHING
        if self._place is None:
            return _everything()
        return _kept_mask(self._script, self._place)

    def advance(self, token_id: int) -> None:
        """Move on by a token. A text that turns out not to be a patch is not restricted from there on."""
        if self._script is not None and self._place is not None:
            self._place = run(self._script, self._place, token_table().pieces[token_id])


@lru_cache(maxsize=4)
def _script(text: str) -> PatchScript:
    return PatchScript(text)


@lru_cache(maxsize=1)
def _everything() -> bytes:
    return with_tokens(_NOTHING, range(len(token_table().pieces)))


def _kept_mask(script: PatchScript, place: Place[State]) -> bytes:
    """The mask at `place`. Inside a free line it is nearly always the same as for the previous token."""
    beginning = next((free for free in place.choice.free if place.written.startswith(free)), None)
    key = (place.state, place.written if beginning in (None, ADD) else beginning, beginning is not None)
    if (mask := script.masks.get(key)) is None:
        if len(script.masks) >= _KEPT_MASKS:
            script.masks.clear()
        mask = script.masks[key] = _mask(script, place)
    return mask


def _mask(script: PatchScript, place: Place[State]) -> bytes:
    table = token_table()
    if place.free:
        return _free_mask(script, table, place)
    if place.state.kind == "begin" and not place.written:
        first, last = table.span(BEGIN[:1], 0, len(table.sorted))
        foreign = (*table.ids[:first], *table.ids[last:])
        return with_tokens(with_tokens(_NOTHING, foreign), _leading(script, table, place))
    return with_tokens(_NOTHING, _leading(script, table, place))


def _free_mask(script: PatchScript, table: TokenTable, place: Place[State]) -> bytes:
    """The mask inside a free line: any token, but whatever it has after a line end must be allowed there."""
    denied, written = place.choice.denied, place.written
    behind = begin(script, script.follow(place.state, written))
    fitting: list[int] = []
    for rest, tokens in table.behind_newline.items():
        if run(script, behind, rest) is not None:
            fitting += [token for before, token in tokens if not denied or written + before not in denied]
    return with_tokens(table.without_newline, fitting)


def _leading(script: PatchScript, table: TokenTable, place: Place[State]) -> list[int]:
    """The tokens whose bytes can be matched from `place`."""
    found: list[int] = []
    open_spans = [(place, b"", 0, len(table.sorted))]
    while open_spans:
        here, prefix, start, stop = open_spans.pop()
        if prefix and table.sorted[start] == prefix:
            found.append(table.ids[start])
            start += 1
        if here.free:
            for index in range(start, stop):
                rest = table.sorted[index][len(prefix) :]
                if NEWLINE not in rest or run(script, here, rest) is not None:
                    found.append(table.ids[index])
            continue
        for byte in {*here.next_bytes(), *(NEWLINE if here.may_end else b"")}:
            longer = prefix + bytes([byte])
            first, last = table.span(longer, start, stop)
            there = run(script, here, longer[-1:]) if first < last else None
            if there is not None:
                open_spans.append((there, longer, first, last))
    return found
