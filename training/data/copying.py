"""Drills in exact copying: what small models fail at."""

from __future__ import annotations

import string

from training.data.chat import Chat, Expectation
from training.data.draw import Draw
from training.data.phrasing import say, wordings


def copying(chat: Chat) -> None:
    """One drill; the answer stands in the request."""
    draw = chat.draw
    chat.skill = "copy"
    drill = draw.choice((repeat, repeat, lookup, lookup, nth_line, after_line, in_block))
    request, answer = drill(draw)
    chat.key = answer
    chat.user(request)
    chat.think("Copy it.", "I repeat it exactly.", "Every letter and mark stays as it is.")
    chat.expectation = Expectation(answer=answer)
    chat.final(answer)


def token(draw: Draw) -> str:
    """Something of a wide range: word, name, identifier, number, mixture."""
    u = draw.rng.random()
    if u < 0.3:
        return draw.word()
    if u < 0.5:
        return draw.identifier()
    if u < 0.58:
        return draw.from_list("rare")
    if u < 0.66:
        return draw.number()
    if u < 0.72:
        return draw.name()
    if u < 0.78:
        return draw.class_name()
    if u < 0.83:
        return draw.path(draw.choice(("py", "txt", "md", "json", "html", "c")))
    if u < 0.88:
        return draw.word().upper()
    if u < 0.92:
        return draw.gibberish()
    if u < 0.96:
        letters = string.ascii_letters + string.digits
        return "".join(draw.choice(letters) for _ in range(draw.between(3, 8)))
    return draw.choice(
        (
            f"{draw.number()}.{draw.number()}",
            f"{draw.word()}@{draw.word()}.com",
            f"v{draw.decimal()}",
            f"#{draw.number()}",
        )
    )


def code_line(draw: Draw) -> str:
    """A line as files have them."""
    kind = draw.between(0, 8)
    a, b = draw.identifier(), draw.identifier()
    if kind == 0:
        return f"{a} = {draw.number()}"
    if kind == 1:
        return f'{a} = "{draw.phrase(1, 3)}"'
    if kind == 2:
        return f"def {draw.function_name()}({a}, {b}):"
    if kind == 3:
        return f"    return {draw.function_name()}({a})"
    if kind == 4:
        return f"{draw.short_word()}.{draw.function_name()}({a}={draw.number()})"
    if kind == 5:
        return f"- {draw.phrase(2, 6)}"
    if kind == 6:
        return f"if {a} {draw.choice(('==', '<', '>', '!='))} {draw.number()}:"
    if kind == 7:
        return f"<{draw.choice(('p', 'li', 'h2', 'div'))}>{draw.phrase(1, 4)}"
    return draw.phrase(3, 9)


def repeat(draw: Draw) -> tuple[str, str]:
    """Say this again."""
    text = code_line(draw) if draw.chance(0.4) else " ".join(token(draw) for _ in range(draw.between(1, 12)))
    request = say(draw, wordings("copying", "repeat"), exact=True, x=text)
    return request, text


def lookup(draw: Draw) -> tuple[str, str]:
    """The value of a key."""
    pairs: dict[str, str] = {}
    for _ in range(draw.between(2, 14)):
        pairs[draw.identifier() if draw.chance(0.6) else draw.word()] = (
            token(draw) if draw.chance(0.7) else draw.phrase(1, 3)
        )
    key = draw.choice(tuple(pairs))
    link = draw.choice((" = ", ": ", "=", " -> "))
    listing = draw.choice(("\n", "\n", ", " if link != ": " else "\n")).join(f"{k}{link}{v}" for k, v in pairs.items())
    ask = say(draw, wordings("copying", "lookup"), k=key)
    return (f"{listing}\n\n{ask}" if draw.chance(0.6) else f"{ask}\n\n{listing}"), pairs[key]


def _block(draw: Draw) -> list[str]:
    lines: list[str] = []
    for _ in range(draw.between(3, 14)):
        line = code_line(draw)
        if line not in lines:
            lines.append(line)
    return lines


def nth_line(draw: Draw) -> tuple[str, str]:
    """First and last line of a text."""
    lines = _block(draw)
    which, index = draw.choice((("first", 0), ("last", -1), ("second", 1), ("third", 2)))
    ask = say(draw, wordings("copying", "nth_line"), w=which)
    text = "\n".join(lines)
    return (f"{ask}\n```\n{text}\n```" if draw.chance(0.5) else f"```\n{text}\n```\n{ask}"), lines[index]


def after_line(draw: Draw) -> tuple[str, str]:
    """The line after or before a given one, or the line that holds a word."""
    lines = _block(draw)
    text = "\n".join(lines)
    i = draw.between(0, len(lines) - 2)
    kind = draw.between(0, 2)
    if kind == 2:
        word = draw.choice(lines[i].split())
        if text.count(word) == 1:
            ask = say(draw, wordings("copying", "line_with"), w=word)
            return f"```\n{text}\n```\n{ask}", lines[i]
    where, given, answer = ("after", i, i + 1) if kind else ("before", i + 1, i)
    ask = say(draw, wordings("copying", "line_beside"), w=where, x=lines[given])
    return f"```\n{text}\n```\n{ask}", lines[answer]


def in_block(draw: Draw) -> tuple[str, str]:
    """A whole block again."""
    lines = _block(draw)[: draw.between(2, 8)]
    text = "\n".join(lines)
    ask = say(draw, wordings("copying", "in_block"))
    return f"{ask}\n{text}", text
