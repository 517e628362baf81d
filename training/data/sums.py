"""Questions about numbers, and the code that answers them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from training.data.draw import Draw
from training.data.phrasing import and_list, say, wordings


@dataclass(frozen=True, slots=True)
class Task:
    """A question, the code that answers it, what it prints, and how to say it (`{r}` is the result)."""

    request: str
    code: str
    result: str
    plan: str
    answer: str = "The answer is {r}."


def show(value: object) -> str:
    """What print writes for `value`."""
    return str(value)


OPERATORS: dict[str, tuple[str, ...]] = {
    "+": ("+", "+", "plus", "and", "added to"),
    "-": ("-", "-", "minus"),
    "*": ("*", "*", "times", "x", "multiplied by", "×"),
    "/": ("/", "/", "divided by", "over"),
    "//": ("//",),
    "%": ("%", "mod", "modulo"),
    "**": ("**", "^", "to the power of"),
}


def two_terms(draw: Draw) -> Task:
    """`what is 17 times 23?`"""
    sign = draw.choice(("+", "+", "-", "-", "*", "*", "*", "/", "/", "%", "**", "//"))
    a, b = draw.number(), draw.number()
    if draw.chance(0.1) and sign in "+-*/":
        a = draw.decimal()
    if sign == "**":
        a, b = str(draw.between(2, 30)), str(draw.between(2, 12))
    if sign in ("/", "//", "%") and float(b) == 0:
        b = "7"
    word = draw.choice(OPERATORS[sign])
    code = f"{a} {sign} {b}"
    gap = "" if not word.isalpha() and draw.chance(0.45) else " "
    request = say(draw, wordings("compute", "two_terms"), e=f"{a}{gap}{word}{gap}{b}")
    return Task(request, f"print({code})", show(eval(code)), f"The task is {code}.", f"{code} = {{r}}")


def several_terms(draw: Draw) -> Task:
    """`(3 + 4) * 12 - 5`"""
    numbers = [str(draw.between(1, 99 if draw.chance(0.7) else 999)) for _ in range(draw.between(3, 4))]
    signs = [draw.choice("+-*") for _ in numbers[1:]]
    code = numbers[0] + "".join(f" {s} {n}" for s, n in zip(signs, numbers[1:], strict=True))
    if draw.chance(0.5):
        code = f"({numbers[0]} {signs[0]} {numbers[1]})" + "".join(
            f" {s} {n}" for s, n in zip(signs[1:], numbers[2:], strict=True)
        )
    spoken = code if draw.chance(0.7) else code.replace(" ", "")
    request = say(draw, wordings("compute", "several_terms"), e=spoken)
    return Task(request, f"print({code})", show(eval(code)), f"The task is {code}.", f"{code} = {{r}}")


def percentage(draw: Draw) -> Task:
    """`15% of 80`"""
    p, n = str(draw.between(1, 99)), draw.number()
    request = say(draw, wordings("compute", "percentage"), p=p, n=n)
    code = f"{n} * {p} / 100"
    return Task(request, f"print({code})", show(eval(code)), f"{p} percent of {n} is {code}.", f"{p}% of {n} is {{r}}.")


def root(draw: Draw) -> Task:
    """Square roots, squares, cubes, factorials."""
    kind = draw.between(0, 3)
    n = str(draw.between(2, 2000))
    if kind == 0:
        request = say(draw, wordings("compute", "square_root"), n=n)
        code = f"import math\nprint(math.sqrt({n}))"
        return Task(request, code, show(math.sqrt(int(n))), f"The square root of {n} is math.sqrt({n}).")
    if kind == 1:
        n = str(draw.between(3, 25))
        request = say(draw, wordings("compute", "factorial"), n=n)
        code = f"import math\nprint(math.factorial({n}))"
        return Task(request, code, show(math.factorial(int(n))), f"The factorial of {n} is math.factorial({n}).")
    word, power = draw.choice((("squared", 2), ("cubed", 3)))
    n = str(draw.between(2, 999))
    request = say(draw, wordings("compute", "power"), n=n, w=word)
    return Task(request, f"print({n} ** {power})", show(int(n) ** power), f"The task is {n} ** {power}.")


FOLDS: dict[str, tuple[str, Callable[[list[int]], object]]] = {
    "sum": ("sum({x})", sum),
    "maximum": ("max({x})", max),
    "largest": ("max({x})", max),
    "minimum": ("min({x})", min),
    "smallest": ("min({x})", min),
    "average": ("sum({x}) / len({x})", lambda x: sum(x) / len(x)),
    "mean": ("sum({x}) / len({x})", lambda x: sum(x) / len(x)),
    "product": ("math.prod({x})", math.prod),
}


def fold(draw: Draw) -> Task:
    """Sum, average, largest of a list of numbers."""
    values = [draw.between(0, 99 if draw.chance(0.7) else 999) for _ in range(draw.between(3, 7))]
    word = draw.choice(tuple(FOLDS))
    code, make = FOLDS[word]
    listed = draw.choice(
        (", ".join(map(str, values)), and_list([str(v) for v in values]), " ".join(map(str, values)), str(values))
    )
    name = f"{word} number" if word in ("largest", "smallest") and draw.chance(0.6) else word
    request = say(draw, wordings("compute", "fold"), w=name, x=listed)
    line = f"print({code.replace('{x}', str(values))})"
    line = f"import math\n{line}" if "math." in code else line
    return Task(request, line, show(make(values)), f"I need the {word} of the numbers.", f"The {word} is {{r}}.")


UNITS = (
    ("km", "miles", "{n} / 1.609344", 1 / 1.609344),
    ("miles", "km", "{n} * 1.609344", 1.609344),
    ("kg", "pounds", "{n} / 0.45359237", 1 / 0.45359237),
    ("pounds", "kg", "{n} * 0.45359237", 0.45359237),
    ("inches", "cm", "{n} * 2.54", 2.54),
    ("cm", "inches", "{n} / 2.54", 1 / 2.54),
    ("feet", "meters", "{n} * 0.3048", 0.3048),
    ("meters", "feet", "{n} / 0.3048", 1 / 0.3048),
    ("hours", "minutes", "{n} * 60", 60),
    ("minutes", "seconds", "{n} * 60", 60),
    ("days", "hours", "{n} * 24", 24),
    ("weeks", "days", "{n} * 7", 7),
    ("hours", "seconds", "{n} * 3600", 3600),
)


def units(draw: Draw) -> Task:
    """Unit conversions and temperatures."""
    n = str(draw.between(1, 200 if draw.chance(0.8) else 5000))
    if draw.chance(0.2):
        source, target, formula = draw.choice(
            (("celsius", "fahrenheit", "{n} * 9 / 5 + 32"), ("fahrenheit", "celsius", "({n} - 32) * 5 / 9"))
        )
    else:
        source, target, formula, _ = draw.choice(UNITS)
    expression = formula.replace("{n}", n)
    if target not in ("minutes", "seconds", "hours", "days"):
        expression = f"round({expression}, 2)"
    request = say(draw, wordings("compute", "units"), n=n, a=source, b=target)
    result = show(eval(expression, {"round": round}))
    return Task(
        request,
        f"print({expression})",
        result,
        f"{n} {source} in {target} is a formula.",
        f"{n} {source} = {{r}} {target}.",
    )
