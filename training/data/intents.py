"""What people say without wanting a tool, and the one answer to each (`training/wordings/*.toml`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from training.data.phrasing import WORDINGS_DIR

BEYOND_ANSWER = (
    "That is beyond nano, a tiny demo model. For this load gpt-oss-20b: `gptoss-tui models download gpt-oss-20b`."
)


@dataclass(frozen=True, slots=True)
class Intent:
    """Wordings of one question and its answer; other answers when a tool is on or editing is off.

    A `casual` intent may come with exclamation marks, smileys and stretched letters.
    """

    topic: str
    answer: str
    phrasings: tuple[str, ...]
    casual: bool = False
    when_python: str = ""
    when_browser: str = ""
    when_no_files: str = ""


def read_intents(name: str, answer: str = "") -> tuple[Intent, ...]:
    """The intents of one file; `answer` is that of all that name none."""
    table = tomllib.loads((WORDINGS_DIR / f"{name}.toml").read_text(encoding="utf-8"))
    return tuple(
        Intent(**{"answer": answer, **item, "phrasings": tuple(item["phrasings"])}) for item in table["intent"]
    )


INTENTS = (*read_intents("small_talk"), *read_intents("app"), *read_intents("vague"))
BEYOND = read_intents("beyond", BEYOND_ANSWER)
