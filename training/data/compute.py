"""Numbers, dates and small computations through the python tool, and what to say when it is off."""

from __future__ import annotations

from collections.abc import Callable

from training.data.chat import Chat, Expectation
from training.data.draw import Draw
from training.data.phrasing import say, wordings
from training.data.small_questions import dates, ordering, primes, text_task, word_problem
from training.data.sums import Task, fold, percentage, root, several_terms, two_terms, units

PYTHON_OFF = "Python is off in this conversation, so I cannot compute that. Start the app with `--python` (`-p`)."


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
    request = say(draw, wordings("compute", "tiny_sum"), a=str(a), b=str(b), w=draw.choice((word, sign)), s=sign)
    chat.skill, chat.key = "python_off", ""
    chat.user(request)
    chat.think(f"{value}.", f"{a} {sign} {b} is {value}.", "That needs no tool.")
    chat.expectation = Expectation(answer=f"{a} {sign} {b} = {value}")
    chat.final(f"{a} {sign} {b} = {value}")


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
