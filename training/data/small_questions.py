"""Questions about words, dates, orders and primes, and the code that answers them."""

from __future__ import annotations

import calendar
import datetime

from training.data.draw import Draw
from training.data.phrasing import and_list, say, wordings
from training.data.sums import Task, show


def ordering(draw: Draw) -> Task:
    """Sort numbers or words."""
    if draw.chance(0.5):
        values: list[int] | list[str] = [draw.between(0, 99) for _ in range(draw.between(3, 7))]
    else:
        values = list(dict.fromkeys(draw.short_word() for _ in range(draw.between(3, 5))))
    spoken = draw.choice((", ".join(map(str, values)), " ".join(map(str, values)), and_list([str(v) for v in values])))
    down = draw.chance(0.25)
    order = draw.choice((" in descending order", " from high to low", " in reverse")) if down else ""
    request = say(draw, wordings("compute", "ordering"), x=spoken, o=order)
    literal = "[" + ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in values) + "]"
    code = f"print(sorted({literal}{', reverse=True' if down else ''}))"
    return Task(request, code, show(sorted(values, reverse=down)), "The values have to be sorted.", "Sorted: {r}")


def text_task(draw: Draw) -> Task:
    """Length, reverse, count of letters, capitals."""
    word = draw.short_word() if draw.chance(0.7) else draw.from_list("rare")
    kind = draw.between(0, 3)
    if kind == 0:
        request = say(draw, wordings("compute", "length"), w=word)
        plan, answer = f"I need the length of {word}.", f"{word} has {{r}} letters."
        return Task(request, f'print(len("{word}"))', show(len(word)), plan, answer)
    if kind == 1:
        request = say(draw, wordings("compute", "reverse"), w=word)
        plan, answer = f"I need {word} reversed.", f"{word} reversed is {{r}}."
        return Task(request, f'print("{word}"[::-1])', word[::-1], plan, answer)
    if kind == 2:
        letter = draw.choice(word)
        request = say(draw, wordings("compute", "count_letter"), l=letter, w=word)
        plan, answer = f"I count {letter} in {word}.", f"{letter} occurs {{r}} times in {word}."
        return Task(request, f'print("{word}".count("{letter}"))', show(word.count(letter)), plan, answer)
    request = say(draw, wordings("compute", "capitals"), w=word)
    return Task(request, f'print("{word}".upper())', word.upper(), f"I need {word} in capitals.", "{r}")


def primes(draw: Draw) -> Task:
    """Is it prime, which are."""
    n = draw.between(2, 999)
    factors = [d for d in range(2, int(n**0.5) + 1) if n % d == 0]
    if draw.chance(0.6):
        request = say(draw, wordings("compute", "is_prime"), n=str(n))
        code = f"n = {n}\nprint(n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1)))"
        return Task(request, code, show(not factors), f"I test whether {n} has a divisor.", f"Is {n} prime? {{r}}.")
    n = draw.between(10, 60)
    request = say(draw, wordings("compute", "prime_list"), n=str(n))
    limit = n if "below" in request or "under" in request else n + 1
    code = f"print([n for n in range(2, {limit}) if all(n % d for d in range(2, n))])"
    found = [k for k in range(2, limit) if all(k % d for d in range(2, k))]
    return Task(request, code, show(found), "I test every number.", "The primes are {r}.")


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
        request = say(draw, wordings("compute", "weekday"), d=_spoken_date(draw, first))
        code = f'from datetime import date\nprint({literal}.strftime("%A"))'
        return Task(request, code, first.strftime("%A"), f"I need the weekday of {first}.", f"{first} is a {{r}}.")
    if kind == 1:
        second = first + datetime.timedelta(days=draw.between(1, 900))
        request = say(
            draw, wordings("compute", "days_between"), a=_spoken_date(draw, first), b=_spoken_date(draw, second)
        )
        code = f"from datetime import date\nprint((date({second.year}, {second.month}, {second.day}) - {literal}).days)"
        answer = f"From {first} to {second} it is {{r}} days."
        return Task(request, code, show((second - first).days), f"I need the days from {first} to {second}.", answer)
    days = draw.between(1, 500)
    later = draw.chance(0.7)
    request = say(
        draw,
        wordings("compute", "days_later"),
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
        request = say(draw, wordings("compute", "word_problem"), a=str(a), b=str(b), t=thing)
        code = f"{a} * {b}"
    else:
        request = say(draw, ("split {a} {t} among {b} people, how many does each get?",), a=str(a), b=str(b), t=thing)
        code = f"{a} / {b}"
    return Task(request, f"print({code})", show(eval(code)), f"This is {code}.", f"{code} = {{r}}")
