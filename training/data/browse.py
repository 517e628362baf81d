"""The browser: search, open, answer with the line that says it; and what to say when it is off."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from training.data.chat import Chat, Expectation
from training.data.draw import Draw
from training.data.phrasing import say, wordings
from training.data.talk import COUNTRIES

BROWSER_OFF = (
    "The browser is off in this conversation, so I cannot look that up. Start the app with `--browser` (`-b`)."
)
WIDTH = 80


@dataclass(frozen=True, slots=True)
class Fact:
    """A question whose answer is one sentence of a page. `value` is the part that answers it."""

    subject: str
    question: str
    query: str
    sentence: str
    value: str
    answer: str


def _product(draw: Draw) -> str:
    return draw.choice(
        (draw.word().capitalize(), f"{draw.word().capitalize()} {draw.between(1, 20)}", draw.class_name())
    )


def price(draw: Draw) -> Fact:
    """What does it cost?"""
    what = _product(draw)
    value = f"{draw.between(1, 999)} {draw.choice(('euros', 'dollars'))}"
    question = say(draw, wordings("browse", "price"), x=what)
    sentence = draw.choice((f"{what} costs {value}.", f"The price of {what} is {value}."))
    return Fact(what, question, f"{what} price", sentence, value, f"{what} costs {value}")


def release(draw: Draw) -> Fact:
    """When did it come out, which version is the newest?"""
    what = _product(draw)
    if draw.chance(0.5):
        value = str(draw.between(1990, 2026))
        question = say(draw, wordings("browse", "release_year"), x=what)
        sentence = draw.choice((f"{what} was released in {value}.", f"It was in {value} that {what} came out."))
        return Fact(what, question, f"{what} release date", sentence, value, f"{what} was released in {value}")
    value = f"{draw.between(0, 20)}.{draw.between(0, 30)}" + (f".{draw.between(0, 20)}" if draw.chance(0.5) else "")
    question = say(draw, wordings("browse", "latest_version"), x=what)
    sentence = draw.choice((f"The latest version of {what} is {value}.", f"{what} {value} is the newest version."))
    return Fact(what, question, f"{what} latest version", sentence, value, f"The latest version of {what} is {value}")


def person(draw: Draw) -> Fact:
    """Who founded, wrote, leads it?"""
    what, who = _product(draw), draw.full_name()
    verb, noun = draw.choice((("founded", "founder"), ("created", "creator"), ("wrote", "author"), ("leads", "head")))
    question = say(draw, wordings("browse", "person"), v=verb, n=noun, x=what)
    sentence = draw.choice((f"{who} {verb} {what}.", f"The {noun} of {what} is {who}."))
    return Fact(what, question, f"{what} {noun}", sentence, who, f"{who} {verb} {what}")


def place(draw: Draw) -> Fact:
    """Where is it?"""
    what, where = _product(draw), draw.place()
    question = say(draw, wordings("browse", "place"), x=what)
    sentence = draw.choice(
        (f"{what} is based in {where}.", f"{what} is in {where}.", f"The home of {what} is {where}.")
    )
    return Fact(what, question, f"{what} location", sentence, where, f"{what} is in {where}")


def amount(draw: Draw) -> Fact:
    """How many, how high, how long?"""
    what = _product(draw)
    unit, verb, ask = draw.choice(
        (
            ("employees", "has", "how many employees does {x} have?"),
            ("members", "has", "how many members does {x} have?"),
            ("users", "has", "how many users does {x} have?"),
            ("rooms", "has", "how many rooms does {x} have?"),
            ("kg", "weighs", "how much does {x} weigh?"),
            ("meters", "is high", "how high is {x}?"),
            ("hours", "takes", "how long does {x} take?"),
        )
    )
    value = draw.number()
    question = say(draw, (ask, f"look up {ask}", f"search: {ask}"), x=what)
    text = f"{what} is {value} meters high" if verb == "is high" else f"{what} {verb} {value} {unit}"
    return Fact(what, question, f"{what} {unit}", f"{text}.", value, text)


def general(draw: Draw) -> Fact:
    """What people ask about the world; the page decides what is true."""
    country, who = draw.choice(COUNTRIES), draw.full_name()
    kind = draw.between(0, 4)
    if kind == 0:
        question = say(draw, wordings("browse", "capital"), x=country)
        value, text = draw.place(), f"The capital of {country} is"
    elif kind == 1:
        question = say(draw, wordings("browse", "president"), x=country)
        value, text = who, f"The president of {country} is"
    elif kind == 2:
        question = say(draw, wordings("browse", "population"), x=country)
        value, text = f"{draw.between(1, 400)} million", f"The population of {country} is"
    elif kind == 3:
        question = say(draw, wordings("browse", "weather"), x=country)
        value, text = draw.choice(("sunny", "rainy", "cloudy", "cold", "warm", "windy")), f"The weather in {country} is"
    else:
        question = say(draw, wordings("browse", "currency"), x=country)
        value, text = (
            draw.choice(("the euro", "the dollar", "the pound", draw.short_word())),
            f"The currency of {country} is",
        )
    noun = text.split()[1]
    return Fact(country, question, f"{country} {noun}", f"{text} {value}.", value, f"{text} {value}")


FACTS: tuple[Callable[[Draw], Fact], ...] = (price, release, release, person, place, amount)


def page_view(cursor: int, title: str, url: str, lines: list[str]) -> str:
    """What the browser shows: wrapped lines with numbers behind a head. All of the page is in view."""
    head = f"[{cursor}] {title}" + (f" ({url})" if url else "")
    last = len(lines) - 1
    body = "\n".join(f"L{i}: {line}" for i, line in enumerate(lines))
    return f"{head}\n**viewing lines [0 - {last}] of {last}**\n\n{body}"


def wrapped(paragraphs: list[str]) -> list[str]:
    """Lines of at most 80 characters, as the browser wraps them."""
    lines: list[str] = []
    for text in paragraphs:
        lines += textwrap.wrap(text, WIDTH, replace_whitespace=False, drop_whitespace=False) or [""]
    return lines


def _site(draw: Draw) -> str:
    return f"{draw.short_word()}.{draw.choice(('com', 'org', 'net', 'example', 'io'))}"


def _page(draw: Draw, fact: Fact, url: str) -> tuple[list[str], list[int]]:
    """Lines of a page that holds the fact, and the numbers of the lines that say it."""
    before = [_filler(draw, fact.subject) for _ in range(draw.between(0, 4))]
    after = [_filler(draw, fact.subject) for _ in range(draw.between(0, 3))]
    head = ["", f"URL: {url}", f"# {fact.subject}", ""]
    start = len(wrapped(head + before))
    told = wrapped([fact.sentence])
    return wrapped([*head, *before, fact.sentence, *after]), list(range(start, start + len(told)))


def _filler(draw: Draw, subject: str) -> str:
    u = draw.rng.random()
    if u < 0.3:
        return ""
    if u < 0.5:
        return f"{subject} is a {draw.short_word()} {draw.thing()} of {draw.place()}."
    if u < 0.7:
        return f"  * {draw.phrase(2, 6)}"
    return " ".join(draw.word() for _ in range(draw.between(5, 16))).capitalize() + "."


def _search_page(draw: Draw, cursor: int, fact: Fact, right: int, sites: list[str]) -> str:
    lines = ["", "URL: ", "# Search Results", ""]
    for i, site in enumerate(sites):
        title = (
            fact.subject
            if i == right
            else f"{fact.subject} {draw.short_word()}"
            if draw.chance(0.3)
            else draw.phrase(1, 3)
        )
        summary = f"All about {fact.subject}." if i == right else draw.phrase(3, 8)
        lines.append(f"  * 【{i}†{title}†{site}】 {summary}")
    return page_view(cursor, fact.query, "", wrapped(lines))


def browse(chat: Chat) -> None:
    """Search, open the fitting result, answer with a citation; or say that the browser is off."""
    draw = chat.draw
    if draw.chance(0.12):
        return open_address(chat)
    fact = general(draw) if chat.scene.browser and draw.chance(0.2) else draw.choice(FACTS)(draw)
    chat.user(fact.question)
    chat.key = fact.subject + fact.value
    if not chat.scene.browser:
        _off(chat)
        return None
    chat.skill = "browser"
    chat.think(f"Search {fact.query}.", f"I search the web for {fact.query}.", "Then I open the page that fits.")
    chat.call("browser.search", query=fact.query)
    sites = [_site(draw) for _ in range(draw.between(1, 4))]
    right = draw.between(0, len(sites) - 1)
    chat.reply(_search_page(draw, 0, fact, right, sites))
    chat.think(
        f"Open {right}.", f"Result {right} is about {fact.subject}. I open it.", "The answer should be on that page."
    )
    chat.call("browser.open", cursor=0, id=right)
    url = f"https://{sites[right]}/{draw.stem()}"
    lines, told = _page(draw, fact, url)
    chat.reply(page_view(1, fact.subject, url, lines))
    _answer(chat, fact.sentence, fact.answer, fact.value, 1, told)
    return None


def _answer(chat: Chat, sentence: str, answer: str, value: str, cursor: int, told: list[int]) -> None:
    where = f"L{told[0]}" + (f"-L{told[-1]}" if len(told) > 1 else "")
    chat.think(f"{where} says it.", f"{where} says: {sentence}", "I answer and cite that line.")
    citation = f"【{cursor}†{where}】"
    chat.expectation = Expectation(tool="browser.open", answer_has=(value, citation))
    chat.final(f"{answer} {citation}.")


def _off(chat: Chat) -> None:
    chat.skill = "browser_off"
    chat.think(
        "The browser is off.",
        "That needs the browser, which is off here. I say how to turn it on.",
        "I must not invent an answer. The flag is --browser.",
    )
    chat.expectation = Expectation(answer=BROWSER_OFF)
    chat.final(BROWSER_OFF)


def search_request(chat: Chat) -> None:
    """Plain requests to search, which are for the browser even when it is off."""
    draw = chat.draw
    topic = draw.phrase(1, 3).strip(".!?")
    text = say(
        draw,
        wordings("browse", "search_request"),
        polite=True,
        t=topic.replace(" ", "-") if draw.chance(0.3) else topic,
    )
    chat.key = text.lower()
    chat.user(text)
    _off(chat)


def open_address(chat: Chat) -> None:
    """Open a page by its address and say what a line of it says."""
    draw = chat.draw
    fact = draw.choice(FACTS)(draw)
    url = f"https://{_site(draw)}/{draw.stem()}"
    question = say(draw, wordings("browse", "open_address"), u=url, q=fact.question.rstrip("?") + "?")
    chat.user(question)
    chat.key = fact.subject + fact.value
    if not chat.scene.browser:
        return _off(chat)
    chat.skill = "browser"
    chat.think(f"Open {url}.", f"The user names {url}. I open it.", "The answer should be on that page.")
    chat.call("browser.open", id=url)
    lines, told = _page(draw, fact, url)
    chat.reply(page_view(0, fact.subject, url, lines))
    _answer(chat, fact.sentence, fact.answer, fact.value, 0, told)
    return None


def browse_off(chat: Chat) -> None:
    """Questions for the web without a browser."""
    if chat.draw.chance(0.5):
        search_request(chat)
    else:
        browse(chat)
