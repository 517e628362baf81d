"""Requests in many wordings: `say(draw, "[please |][create|make] {f}", f="a.py")`.

`[a|b]` is one of several wordings and may be nested; `{name}` is a slot, whose value is never altered. Everything
else may be changed as hasty people do: capitals, missing marks, typing errors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from training.data.draw import Draw, is_held_phrasing, text_lines

WORDINGS_DIR = Path(__file__).resolve().parent.parent / "wordings"

Node = str | tuple[str, ...] | list["list[Node]"]
"""Plain text, a slot as `(name,)`, or a choice among sequences."""

POLITE_FRONT = ("please ", "can you ", "could you ", "can you please ", "could you please ", "i want you to ", "pls ")
POLITE_BACK = (" please", ", please", " pls", " thanks", ", thanks", " for me")
VERBS = frozenset(text_lines("request_verbs"))
TYPO_PERCENT = 3


@cache
def wordings(file: str, section: str) -> tuple[str, ...]:
    """The templates of one `## section` of `training/wordings/FILE.txt`. Raises KeyError when there is none."""
    return _sections(file)[section]


@cache
def _sections(file: str) -> dict[str, tuple[str, ...]]:
    text = (WORDINGS_DIR / f"{file}.txt").read_text(encoding="utf-8")
    blocks = (block.split("\n") for block in text.removeprefix("## ").rstrip("\n").split("\n\n## "))
    return {name: tuple(templates) for name, *templates in blocks}


@cache
def parse(template: str) -> tuple[Node, ...]:
    """The tree of a template. Raises ValueError when brackets do not match."""
    nodes, end = _parse_sequence(template, 0, "")
    if end != len(template):
        raise ValueError(f"Unbalanced template: {template}")
    return tuple(nodes)


def _parse_sequence(text: str, at: int, stops: str) -> tuple[list[Node], int]:
    nodes: list[Node] = []
    while at < len(text) and text[at] not in stops:
        if text[at] == "[":
            options: list[list[Node]] = []
            at += 1
            while True:
                option, at = _parse_sequence(text, at, "|]")
                options.append(option)
                if at >= len(text):
                    raise ValueError(f"Unbalanced template: {text}")
                at += 1
                if text[at - 1] == "]":
                    break
            nodes.append(options)
        elif text[at] == "{":
            close = text.index("}", at)
            nodes.append((text[at + 1 : close],))
            at = close + 1
        else:
            found = re.compile(r"[^\[\]{|]+|.").match(text, at)
            assert found is not None
            nodes.append(found.group())
            at = found.end()
    return nodes, at


def expand(draw: Draw, template: str, slots: dict[str, str]) -> list[tuple[str, bool]]:
    """Pieces of one wording: text and whether it is the value of a slot."""
    pieces: list[tuple[str, bool]] = []
    _expand(draw, parse(template), slots, pieces)
    return pieces


def _expand(draw: Draw, nodes: Sequence[Node], slots: dict[str, str], pieces: list[tuple[str, bool]]) -> None:
    for node in nodes:
        if isinstance(node, str):
            pieces.append((node, False))
        elif isinstance(node, tuple):
            pieces.append((slots[node[0]], True))
        else:
            _expand(draw, draw.choice(node), slots, pieces)


def pick_template(draw: Draw, templates: Sequence[str]) -> str:
    """A wording for this draw's split: some are held out where there are enough of them."""
    if len(templates) < 6:
        return draw.choice(templates)
    wanted = draw.split == "phrasings"
    fitting = [t for t in templates if is_held_phrasing(t) == wanted]
    return draw.choice(fitting or templates)


def typo(draw: Draw, text: str) -> str:
    """`text` with one slip of the fingers in one of its longer words."""
    words = list(re.finditer(r"[a-z]{4,}", text))
    if not words:
        return text
    start, end = draw.choice(words).span()
    i = draw.between(start + 1, end - 2)
    slip = draw.rng.random()
    if slip < 0.5:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    if slip < 0.8:
        return text[:i] + text[i + 1 :]
    return text[:i] + text[i] + text[i:]


def say(draw: Draw, templates: Sequence[str], *, polite: bool = False, exact: bool = False, **slots: str) -> str:
    """One of `templates` with its slots filled, as a person would type it.

    `polite` allows a `please` or `can you` before it (the template must then begin with a verb). `exact` keeps marks
    away from a value at the end.
    """
    pieces = expand(draw, pick_template(draw, templates), slots)
    back = ""
    if polite and pieces[0][0].split(" ")[0] in VERBS and draw.chance(0.22):
        if draw.chance(0.7):
            pieces.insert(0, (draw.choice(POLITE_FRONT), False))
        else:
            back = draw.choice(POLITE_BACK)
    if draw.rng.random() * 100 < TYPO_PERCENT:
        literal = [i for i, (text, is_value) in enumerate(pieces) if not is_value and len(text) > 4]
        if literal:
            i = draw.choice(literal)
            pieces[i] = (typo(draw, pieces[i][0]), False)
    return _finish(draw, pieces, back, exact)


def _finish(draw: Draw, pieces: list[tuple[str, bool]], back: str, exact: bool) -> str:
    if pieces and not pieces[0][1] and draw.chance(0.4):
        first = pieces[0][0]
        pieces[0] = (first[:1].upper() + first[1:], False)
    text = "".join(t for t, _ in pieces)
    last_is_value = pieces[-1][1]
    if back:
        return text + back
    if text.endswith("?"):
        return text[:-1] if draw.chance(0.35) else text
    if exact and last_is_value:
        return text
    if text[:4].lower() in ("can ", "coul") and draw.chance(0.5):
        return text + "?" if text[-1].isalnum() else text
    if text[-1:].isalnum() or text[-1:] in "\"'":
        if last_is_value and draw.chance(0.2 if text[:1].isupper() else 0.06):
            return text + "."
        if not last_is_value and draw.chance(0.12):
            return text + draw.choice((".", ".", "!"))
    return text


def and_list(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def sentence(text: str) -> str:
    """`text` with a full stop, unless it ends with a mark already."""
    return text if text[-1:] in ".!?" else text + "."
