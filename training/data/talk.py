"""Small talk, questions about the app, and what is beyond a demo model."""

from __future__ import annotations

import re

from training.data.chat import Chat, Expectation, Step
from training.data.draw import Draw, text_lines
from training.data.intents import BEYOND, INTENTS, Intent
from training.data.phrasing import say, wordings


def talk(chat: Chat) -> None:
    """Answer without any tool."""
    draw = chat.draw
    u = draw.rng.random()
    if u < 0.04 and chat.scene.date:
        return today(chat)
    if u < 0.10:
        return introduce(chat)
    if u < 0.16:
        return noise(chat)
    if u < 0.20:
        return cannot_do(chat)
    answer_intent(chat, draw.choice(INTENTS))
    return None


def answer_intent(chat: Chat, intent: Intent) -> None:
    """The fixed answer of one intent; its key is the wording itself."""
    draw = chat.draw
    text = say(draw, intent.phrasings)
    if intent.casual:
        text = casual(draw, text)
    if draw.split == "train" and draw.chance(0.15):
        text = hasty(draw, text)
    chat.skill = "talk"
    chat.key = wording_key(text)
    answer = intent.answer
    if intent.when_python and chat.scene.python:
        answer = intent.when_python
    if intent.when_browser and chat.scene.browser:
        answer = intent.when_browser
    if intent.when_no_files and not chat.scene.files:
        answer = intent.when_no_files
    chat.user(text)
    chat.think(f"{intent.topic}.", f"{intent.topic}. A short answer is enough.", "No tool is needed for that.")
    chat.expectation = Expectation(answer=answer)
    chat.final(answer)


def wording_key(text: str) -> str:
    """The wording without case and marks; empty for one or two words, which training always has."""
    plain = text.lower().strip(" .!?:;)(")
    return plain if plain.count(" ") > 1 else ""


def casual(draw: Draw, text: str) -> str:
    """Marks and letters that people add to greetings and thanks."""
    u = draw.rng.random()
    if u < 0.12:
        return text + "!"
    if u < 0.16:
        return text + "!!"
    if u < 0.20:
        return text + " :)"
    if u < 0.24:
        return text.upper()
    if u < 0.27:
        return text + text[-1] * draw.between(1, 3) if text[-1].isalpha() else text
    return text


SHORT_FORMS = {
    "you": "u", "are": "r", "your": "ur", "please": "pls", "what is": "whats", "what's": "whats", "how is": "hows",
    "i am": "im", "i'm": "im", "do not": "dont", "don't": "dont", "can not": "cant", "can't": "cant", "to": "2",
    "thanks": "thx", "because": "bc", "python": "py", "file": "fil", "hello": "helo", "who": "hwo",
}  # fmt: skip


def hasty(draw: Draw, text: str) -> str:
    """A short form as in text messages, or a blank before the last mark."""
    if text[-1:] in "?!" and draw.chance(0.4):
        return text[:-1].rstrip() + " " + text[-1]
    fitting = [form for form in SHORT_FORMS if re.search(rf"\b{form}\b", text, re.IGNORECASE)]
    for form in fitting:
        if draw.chance(0.6):
            text = re.sub(rf"\b{form}\b", SHORT_FORMS[form], text, flags=re.IGNORECASE)
    return text


def today(chat: Chat) -> None:
    """The date stands in the system message."""
    text = say(chat.draw, wordings("talk", "today"))
    chat.skill, chat.key = "talk", f"{text.lower()} {chat.scene.date}"
    chat.user(text)
    answer = f"Today is {chat.scene.date}."
    chat.think("The date.", f"The system message says {chat.scene.date}.", "I repeat it as it is.")
    chat.expectation = Expectation(answer=answer)
    chat.final(answer)


def introduce(chat: Chat) -> None:
    """The person says who they are, and may ask for it."""
    draw = chat.draw
    name = draw.name() if draw.chance(0.8) else draw.short_word().capitalize()
    spoken = name if draw.chance(0.7) else name.lower()
    text = say(draw, wordings("talk", "introduce"), n=spoken)
    chat.skill, chat.key = "talk", f"{name}|{text[:12].lower()}"
    chat.user(text)
    answer = f"Hello {name}! What shall I do?"
    chat.think(f"It is {name}.", f"The user is {name}. I greet them by name.", "Then I ask what to do.")
    chat.expectation = Expectation(answer=answer)
    chat.final(answer)
    if draw.split == "train" and draw.chance(0.35):
        question = say(draw, wordings("talk", "ask_name"))
        chat.user(question)
        chat.think(f"It is {name}.", f"The user said that they are {name}.", "I repeat the name.")
        chat.final(f"Your name is {name}.")


CANNOT_RUN = "I cannot run programs or commands here. I can create, change, read and search files."


def cannot_do(chat: Chat) -> None:
    """Run a named file, or make a folder."""
    draw = chat.draw
    chat.skill = "talk"
    if draw.chance(0.7):
        path = draw.path(draw.choice(("py", "py", "py", "sh", "js", "html")))
        text = say(draw, wordings("talk", "run_file"), polite=True, f=path)
        answer = CANNOT_RUN
        chat.think("Running is not possible.", f"The user wants {path} to run. I cannot run programs.", "I say so.")
    else:
        folder = draw.short_word()
        text = say(draw, wordings("talk", "make_folder"), polite=True, f=folder)
        answer = f"I cannot make an empty folder. Ask me for a file in it, for example `{folder}/notes.txt`."
        chat.think("A folder.", f"The user wants the folder {folder}. A patch makes files only.", "I say so.")
        path = folder
    chat.key = f"{path}|{answer[:9]}"
    chat.steps.insert(len(chat.steps) - 1, Step("user", text))
    chat.expectation = Expectation(answer=answer)
    chat.final(answer)


UNCLEAR = "I did not understand that. Ask me to create, change or find a file, or press F1 for help."


def noise(chat: Chat) -> None:
    """Keys hit at random, single words, other languages."""
    draw = chat.draw
    kind = draw.between(0, 3)
    if kind == 0:
        text = "".join(draw.choice("asdfghjklqwertzuiopyxcvbnm") for _ in range(draw.between(3, 12)))
    elif kind == 1:
        text = draw.choice(
            ("?", "??", "...", "!", ".", "-", "???", "#", "1", "x", "a", "asdf", "qwerty", "123", "foo", "bla", "blah")
        )
    elif kind == 2:
        text = draw.from_list("rare")
    else:
        return foreign(chat)
    chat.skill, chat.key = "talk", ""
    chat.user(text)
    chat.think("Unclear.", "I do not know what the user means.", "I ask for a clear request.")
    chat.expectation = Expectation(answer=UNCLEAR)
    chat.final(UNCLEAR)
    return None


FOREIGN = "I am a small demo model and only understand English. For other languages load gpt-oss-20b."
FOREIGN_TEXTS = text_lines("foreign")


def foreign(chat: Chat) -> None:
    """Anything but English."""
    text = chat.draw.choice(FOREIGN_TEXTS)
    text = text.capitalize() if chat.draw.chance(0.4) else text
    chat.skill, chat.key = "talk", ""
    chat.user(text)
    chat.think("Not English.", "I only understand English.", "A bigger model speaks many languages.")
    chat.expectation = Expectation(answer=FOREIGN)
    chat.final(FOREIGN)


def beyond(chat: Chat) -> None:
    """Say honestly that a demo model cannot do this."""
    draw = chat.draw
    intent = draw.choice(BEYOND)
    while chat.scene.browser and intent.topic in ("A fact about the world", "A person", "Politics and news"):
        intent = draw.choice(BEYOND)
    topic = draw.phrase(1, 3).strip(".!?") if draw.chance(0.4) else draw.choice(TOPICS)
    text = say(
        draw,
        intent.phrasings,
        polite=True,
        t=topic,
        p=draw.choice(COUNTRIES),
        n=draw.full_name() if draw.chance(0.4) else draw.choice(PEOPLE),
        f=draw.path(draw.choice(("py", "js", "ts", "c", "rs", "go"))),
        l=draw.choice(("French", "German", "Spanish", "Italian", "Japanese", "Chinese", "Russian", "Latin", "Polish")),
    )
    chat.skill, chat.key = "beyond", wording_key(text)
    chat.user(text)
    chat.think(
        "Beyond a demo model.",
        f"{intent.topic}. That is beyond a demo model, so I say so.",
        "I must not invent an answer. gpt-oss-20b can do it.",
    )
    chat.expectation = Expectation(answer=intent.answer)
    chat.final(intent.answer)


TOPICS = text_lines("topics")
COUNTRIES = text_lines("countries")
PEOPLE = text_lines("people")
