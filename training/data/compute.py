"""Numbers, dates and small computations through the python tool, and what to say when it is off."""

from __future__ import annotations

import calendar
import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass

from training.data.chat import Chat, Expectation
from training.data.draw import Draw
from training.data.phrasing import and_list, say

PYTHON_OFF = "Python is off in this conversation, so I cannot compute that. Start the app with `--python` (`-p`)."


@dataclass(frozen=True, slots=True)
class Task:
    """A question, the code that answers it, what it prints, and how to say it (`{r}` is the result)."""

    request: str
    code: str
    result: str
    plan: str
    answer: str = "The answer is {r}."


def compute(chat: Chat) -> None:
    """One question for the python tool."""
    draw = chat.draw
    if not chat.scene.python and draw.chance(0.3):
        return tiny_sum(chat)
    task = draw.choice(TASKS)(draw)
    chat.user(task.request)
    chat.key = task.code
    if not chat.scene.python:
        chat.skill = "python_off"
        chat.think(
            "Python is off.",
            "That needs python, which is off here. I say how to turn it on.",
            "Guessing a number would be wrong. The flag is --python.",
        )
        chat.expectation = Expectation(answer=PYTHON_OFF)
        chat.final(PYTHON_OFF)
        return None
    chat.skill = "python"
    chat.think(
        "Use python.", f"{task.plan} I use python for that.", "The tool gives the exact result, which I then report."
    )
    chat.python(task.code)
    if draw.split == "train" and draw.chance(0.03):
        _failure(chat)
        return None
    chat.reply(task.result + ("\n" if draw.chance(0.5) else ""))
    short = task.result if len(task.result) < 60 else "a result"
    chat.think(f"It is {short}.", f"Python says {short}.", "That is the answer.")
    chat.expectation = Expectation(tool="python", answer_has=(task.result,))
    chat.final(task.answer.replace("{r}", task.result))
    return None


def _failure(chat: Chat) -> None:
    """The tool reports an error, times out or is not allowed."""
    draw = chat.draw
    kind = draw.between(0, 2)
    if kind == 0:
        chat.reply("The user did not allow this call.")
        chat.think("Denied.", "The user did not allow it, so I stop.", "I do not try it another way.")
        chat.final("Okay, I did not run anything. Tell me what you want instead.")
        return
    error = draw.choice(
        (
            "ZeroDivisionError: division by zero",
            "MemoryError",
            "OverflowError: Python int too large to convert to C int",
            "ValueError: math domain error",
            "TimeoutError: the code ran for more than 120 seconds",
        )
    )
    chat.reply(f'Traceback (most recent call last):\n  File "<cell>", line 1, in <module>\n{error}\n')
    chat.think("An error.", f"Python reports {error}.", "I tell the user what happened.")
    chat.final(f"Python reports an error: {error}.")


def tiny_sum(chat: Chat) -> None:
    """Sums that need no tool."""
    draw = chat.draw
    a, b = draw.between(0, 10), draw.between(0, 10)
    sign, word, value = draw.choice((("+", "plus", a + b), ("-", "minus", abs(a - b))))
    if sign == "-":
        a, b = max(a, b), min(a, b)
    request = say(
        draw,
        ("what is {a} {w} {b}?", "what's {a} {w} {b}?", "{a} {w} {b}", "{a}{s}{b}", "{a}{s}{b}=?", "whats {a}{s}{b}?"),
        a=str(a),
        b=str(b),
        w=draw.choice((word, sign)),
        s=sign,
    )
    chat.skill, chat.key = "python_off", ""
    chat.user(request)
    chat.think(f"{value}.", f"{a} {sign} {b} is {value}.", "That needs no tool.")
    chat.expectation = Expectation(answer=f"{a} {sign} {b} = {value}")
    chat.final(f"{a} {sign} {b} = {value}")


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
    request = say(
        draw,
        (
            "what is {e}?",
            "what's {e}?",
            "whats {e}?",
            "how much is {e}?",
            "[compute|calculate|work out] {e}",
            "{e}",
            "{e} = ?",
            "{e}=",
            "tell me {e}",
            "can you [compute|calculate] {e}?",
            "i need the result of {e}",
            "what does {e} [make|give|equal]?",
        ),
        e=f"{a}{gap}{word}{gap}{b}",
    )
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
    request = say(
        draw,
        ("what is {e}?", "[compute|calculate|evaluate|solve] {e}", "{e}", "what's {e}?", "how much is {e}?", "{e} = ?"),
        e=spoken,
    )
    return Task(request, f"print({code})", show(eval(code)), f"The task is {code}.", f"{code} = {{r}}")


def percentage(draw: Draw) -> Task:
    """`15% of 80`"""
    p, n = str(draw.between(1, 99)), draw.number()
    request = say(
        draw,
        (
            "what is {p}% of {n}?",
            "what's {p} percent of {n}?",
            "[compute|calculate] {p}% of {n}",
            "{p}% of {n}",
            "how much is {p} percent of {n}?",
            "{p} percent of {n}?",
        ),
        p=p,
        n=n,
    )
    code = f"{n} * {p} / 100"
    return Task(request, f"print({code})", show(eval(code)), f"{p} percent of {n} is {code}.", f"{p}% of {n} is {{r}}.")


def root(draw: Draw) -> Task:
    """Square roots, squares, cubes, factorials."""
    kind = draw.between(0, 3)
    n = str(draw.between(2, 2000))
    if kind == 0:
        request = say(
            draw,
            ("what is the square root of {n}?", "square root of {n}", "sqrt({n})", "sqrt {n}", "compute sqrt of {n}"),
            n=n,
        )
        code = f"import math\nprint(math.sqrt({n}))"
        return Task(request, code, show(math.sqrt(int(n))), f"The square root of {n} is math.sqrt({n}).")
    if kind == 1:
        n = str(draw.between(3, 25))
        request = say(
            draw,
            ("what is {n} factorial?", "[compute|calculate] {n}!", "factorial of {n}", "what is {n}!", "{n} factorial"),
            n=n,
        )
        code = f"import math\nprint(math.factorial({n}))"
        return Task(request, code, show(math.factorial(int(n))), f"The factorial of {n} is math.factorial({n}).")
    word, power = draw.choice((("squared", 2), ("cubed", 3)))
    n = str(draw.between(2, 999))
    request = say(draw, ("what is {n} {w}?", "{n} {w}", "[compute|calculate] {n} {w}", "what's {n} {w}?"), n=n, w=word)
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
    request = say(
        draw,
        (
            "what is the {w} of {x}?",
            "what's the {w} of {x}?",
            "[compute|calculate|find|give me] the {w} of {x}",
            "{w} of {x}",
            "the {w} of these numbers: {x}",
            "find the {w}: {x}",
        ),
        w=name,
        x=listed,
    )
    line = f"print({code.replace('{x}', str(values))})"
    line = f"import math\n{line}" if "math." in code else line
    return Task(
        request, line, show(make(values)), f"I need the {word} of {len(values)} numbers.", f"The {word} is {{r}}."
    )


def ordering(draw: Draw) -> Task:
    """Sort numbers or words."""
    if draw.chance(0.5):
        values: list[int] | list[str] = [draw.between(0, 99) for _ in range(draw.between(3, 7))]
    else:
        values = list(dict.fromkeys(draw.short_word() for _ in range(draw.between(3, 5))))
    spoken = draw.choice((", ".join(map(str, values)), " ".join(map(str, values)), and_list([str(v) for v in values])))
    down = draw.chance(0.25)
    order = draw.choice((" in descending order", " from high to low", " in reverse")) if down else ""
    request = say(
        draw,
        ("sort {x}{o}", "sort these{o}: {x}", "put {x} in order{o}", "[can you sort|please sort] {x}{o}"),
        x=spoken,
        o=order,
    )
    literal = "[" + ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in values) + "]"
    code = f"print(sorted({literal}{', reverse=True' if down else ''}))"
    return Task(request, code, show(sorted(values, reverse=down)), "The values have to be sorted.", "Sorted: {r}")


def text_task(draw: Draw) -> Task:
    """Length, reverse, count of letters."""
    word = draw.short_word() if draw.chance(0.7) else draw.from_list("rare")
    kind = draw.between(0, 3)
    if kind == 0:
        request = say(
            draw,
            (
                "how many letters are in {w}?",
                "how many letters does {w} have?",
                "how long is the word {w}?",
                "what is the length of {w}?",
                "[count|count the] letters in {w}",
                "how many characters are in {w}?",
            ),
            w=word,
        )
        return Task(
            request,
            f'print(len("{word}"))',
            show(len(word)),
            f"I need the length of {word}.",
            f"{word} has {{r}} letters.",
        )
    if kind == 1:
        request = say(
            draw,
            (
                "reverse {w}",
                "reverse the word {w}",
                "what is {w} [backwards|reversed]?",
                "spell {w} backwards",
                "write {w} backwards",
            ),
            w=word,
        )
        return Task(
            request, f'print("{word}"[::-1])', word[::-1], f"I need {word} reversed.", f"{word} reversed is {{r}}."
        )
    if kind == 2:
        letter = draw.choice(word)
        request = say(
            draw,
            (
                "how many {l}s are in {w}?",
                "how many {l}'s are in {w}?",
                "how many times does {l} occur in {w}?",
                "how often is {l} in {w}?",
                "count the {l}s in {w}",
                "how many letters {l} are in {w}?",
            ),
            l=letter,
            w=word,
        )
        code = f'print("{word}".count("{letter}"))'
        return Task(
            request,
            code,
            show(word.count(letter)),
            f"I count {letter} in {word}.",
            f"{letter} occurs {{r}} times in {word}.",
        )
    request = say(
        draw, ("{w} in upper case", "what is {w} in capitals?", "uppercase {w}", "write {w} in uppercase"), w=word
    )
    return Task(request, f'print("{word}".upper())', word.upper(), f"I need {word} in capitals.", "{r}")


def primes(draw: Draw) -> Task:
    """Is it prime, which are."""
    n = draw.between(2, 999)
    factors = [d for d in range(2, int(n**0.5) + 1) if n % d == 0]
    if draw.chance(0.6):
        request = say(
            draw,
            ("is {n} prime?", "is {n} a prime number?", "check if {n} is prime", "is {n} a prime?", "{n} prime?"),
            n=str(n),
        )
        code = f"n = {n}\nprint(n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1)))"
        return Task(request, code, show(not factors), f"I test whether {n} has a divisor.", f"Is {n} prime? {{r}}.")
    n = draw.between(10, 60)
    request = say(
        draw,
        (
            "[list|show] the primes up to {n}",
            "which primes are [below|under] {n}?",
            "all primes up to {n}",
            "primes up to {n}",
        ),
        n=str(n),
    )
    limit = n if "below" in request or "under" in request else n + 1
    code = f"print([n for n in range(2, {limit}) if all(n % d for d in range(2, n))])"
    found = [k for k in range(2, limit) if all(k % d for d in range(2, k))]
    return Task(request, code, show(found), "I test every number.", "The primes are {r}.")


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
    request = say(
        draw,
        (
            "[convert|change] {n} {a} to {b}",
            "what is {n} {a} in {b}?",
            "how many {b} are {n} {a}?",
            "how many {b} are in {n} {a}?",
            "{n} {a} in {b}",
            "{n} {a} to {b}",
        ),
        n=n,
        a=source,
        b=target,
    )
    result = show(eval(expression, {"round": round}))
    return Task(
        request,
        f"print({expression})",
        result,
        f"{n} {source} in {target} is a formula.",
        f"{n} {source} = {{r}} {target}.",
    )


MONTHS = calendar.month_name[1:]


def _spoken_date(draw: Draw, day: datetime.date) -> str:
    u = draw.rng.random()
    month = MONTHS[day.month - 1]
    if u < 0.4:
        return day.isoformat()
    if u < 0.7:
        return f"{month} {day.day}, {day.year}"
    return f"{day.day} {month if draw.chance(0.7) else month.lower()} {day.year}"


def _date(draw: Draw) -> datetime.date:
    return datetime.date(draw.between(1950, 2040), 1, 1) + datetime.timedelta(days=draw.between(0, 364))


def dates(draw: Draw) -> Task:
    """Weekdays, days between, dates later."""
    first = _date(draw)
    literal = f"date({first.year}, {first.month}, {first.day})"
    kind = draw.between(0, 2)
    if kind == 0:
        request = say(
            draw,
            (
                "what day of the week [was|is] {d}?",
                "what weekday [was|is|will be] {d}?",
                "which day of the week is {d}?",
                "what day was {d}?",
                "weekday of {d}",
                "tell me the weekday of {d}",
            ),
            d=_spoken_date(draw, first),
        )
        code = f'from datetime import date\nprint({literal}.strftime("%A"))'
        return Task(request, code, first.strftime("%A"), f"I need the weekday of {first}.", f"{first} is a {{r}}.")
    if kind == 1:
        second = first + datetime.timedelta(days=draw.between(1, 900))
        request = say(
            draw,
            (
                "how many days are [there |]between {a} and {b}?",
                "how many days from {a} to {b}?",
                "days between {a} and {b}",
                "[compute|count] the days from {a} to {b}",
            ),
            a=_spoken_date(draw, first),
            b=_spoken_date(draw, second),
        )
        code = f"from datetime import date\nprint((date({second.year}, {second.month}, {second.day}) - {literal}).days)"
        answer = f"From {first} to {second} it is {{r}} days."
        return Task(request, code, show((second - first).days), f"I need the days from {first} to {second}.", answer)
    days = draw.between(1, 500)
    later = draw.chance(0.7)
    request = say(
        draw,
        (
            "what date is {n} days {w} {d}?",
            "which date is {n} days {w} {d}?",
            "{n} days {w} {d}",
            "what day is it {n} days {w} {d}?",
        ),
        n=str(days),
        w="after" if later else "before",
        d=_spoken_date(draw, first),
    )
    sign = "+" if later else "-"
    code = f"from datetime import date, timedelta\nprint({literal} {sign} timedelta(days={days}))"
    result = first + datetime.timedelta(days=days if later else -days)
    return Task(request, code, show(result), f"I need {first} {sign} {days} days.", "That is {r}.")


def word_problem(draw: Draw) -> Task:
    """A light story with two numbers."""
    who, thing = draw.name(), draw.thing()
    a, b = draw.between(3, 99), draw.between(2, 60)
    kind = draw.between(0, 3)
    if kind == 0:
        request = say(
            draw,
            ("{w} has {a} {t} and buys {b} more. how many {t} does {w} have?",),
            w=who,
            a=str(a),
            b=str(b),
            t=thing,
        )
        code = f"{a} + {b}"
    elif kind == 1:
        a, b = max(a, b) + 1, min(a, b)
        request = say(
            draw, ("{w} has {a} {t} and gives away {b}. how many are left?",), w=who, a=str(a), b=str(b), t=thing
        )
        code = f"{a} - {b}"
    elif kind == 2:
        request = say(
            draw,
            ("{a} boxes hold {b} {t} each. how many {t} is that?", "how much do {a} {t} cost at {b} euros each?"),
            a=str(a),
            b=str(b),
            t=thing,
        )
        code = f"{a} * {b}"
    else:
        request = say(draw, ("split {a} {t} among {b} people, how many does each get?",), a=str(a), b=str(b), t=thing)
        code = f"{a} / {b}"
    return Task(request, f"print({code})", show(eval(code)), f"This is {code}.", f"{code} = {{r}}")


TASKS: tuple[Callable[[Draw], Task], ...] = (
    two_terms,
    two_terms,
    two_terms,
    two_terms,
    two_terms,
    several_terms,
    several_terms,
    percentage,
    root,
    fold,
    fold,
    ordering,
    text_task,
    text_task,
    primes,
    units,
    dates,
    dates,
    word_problem,
)
