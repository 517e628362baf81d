"""Random choices for the generators: everyday words first, a tail of rare ones, and the split that is held out."""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")

Split = Literal["train", "combinations", "words", "phrasings"]
"""What a sample is drawn for. `combinations`: values whose combination training never saw; `words`: with words that
training never saw in any slot; `phrasings`: with wordings of the request that training never saw."""

WORDS_DIR = Path(__file__).resolve().parent.parent / "words"
NUM_EVERYDAY = 8000
NUM_RARE = 4000
HELD_PERCENT = 8


def bucket(text: str) -> int:
    """A stable number in 0..99 for `text`."""
    return hashlib.blake2b(text.encode(), digest_size=4).digest()[0] * 100 // 256


def is_held_combination(skill: str, key: str) -> bool:
    """Whether the slot values that `key` names are kept out of training together.

    An empty key, and the first file that everybody makes, are always trained.
    """
    if not key or key.startswith("hello."):
        return False
    return bucket(f"combination:{skill}:{key}") < HELD_PERCENT


def is_held_word(word: str) -> bool:
    """Whether training never puts `word` into a slot."""
    return bucket("word:" + word.lower()) < 3


def is_held_phrasing(template: str) -> bool:
    """Whether training never words a request like `template`."""
    return bucket("phrasing:" + template) < 5


@lru_cache(maxsize=64)
def word_list(name: str, held: bool) -> tuple[str, ...]:
    """The words of one file, either those that training uses or those that it does not."""
    words = (WORDS_DIR / f"{name}.txt").read_text(encoding="utf-8").split()
    limit = {"everyday": NUM_EVERYDAY, "rare": NUM_RARE}.get(name, len(words))
    step = len(words) / limit if name == "rare" else 1
    chosen = [words[int(i * step)] for i in range(min(limit, len(words)))]
    return tuple(w for w in chosen if is_held_word(w) == held) or tuple(chosen)


def text_lines(name: str) -> tuple[str, ...]:
    """The lines of one file of `training/words`, for lists of whole expressions."""
    return tuple((WORDS_DIR / f"{name}.txt").read_text(encoding="utf-8").splitlines())


class Draw:
    """A seeded source of words, names, numbers and identifiers for one split."""

    def __init__(self, seed: int | str, split: Split = "train") -> None:
        self.rng = random.Random(seed)
        self.split = split
        self._held_words = split == "words"

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.rng.random() < probability

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, all alike."""
        return items[int(self.rng.random() * len(items))]

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.rng.random() * (high - low + 1))

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different ones of `items`."""
        return self.rng.sample(items, min(count, len(items)))

    def from_list(self, name: str) -> str:
        """A word of one file of `training/words`."""
        return self.choice(word_list(name, self._held_words))

    def everyday(self) -> str:
        """A common English word; the most common ones come more often."""
        words = word_list("everyday", self._held_words)
        u = self.rng.random()
        return words[int(len(words) * u * (u if self.chance(0.5) else 1.0))]

    def word(self) -> str:
        """A lower-case word, name or thing; sometimes a rare word or a made-up one."""
        u = self.rng.random()
        if u < 0.62:
            return self.everyday()
        if u < 0.78:
            return self.from_list("things")
        if u < 0.84:
            return self.from_list("names")
        if u < 0.88:
            return self.from_list("places")
        if u < 0.98:
            return self.from_list("rare")
        return self.gibberish()

    def gibberish(self) -> str:
        """Letters without meaning: what no list holds."""
        if self.chance(0.5):
            return "".join(self.choice("bcdfghklmnprstvw") + self.choice("aeiou") for _ in range(self.between(2, 4)))
        return "".join(self.choice(string.ascii_lowercase) for _ in range(self.between(3, 8)))

    def name(self) -> str:
        """A first name with its capital."""
        return self.from_list("names").capitalize()

    def full_name(self) -> str:
        """First and last name."""
        return f"{self.name()} {self.from_list('surnames').capitalize()}"

    def place(self) -> str:
        """A town with its capital."""
        return self.from_list("places").capitalize()

    def thing(self) -> str:
        """Something one can buy, see or put on a list."""
        return self.from_list("things")

    def noun(self) -> str:
        """A word that programs use for a value: `price`."""
        return self.from_list("code_nouns") if self.chance(0.75) else self.short_word()

    def short_word(self) -> str:
        """A word of three to eight letters."""
        for _ in range(20):
            word = self.word()
            if 3 <= len(word) <= 8:
                return word
        return self.thing()

    def identifier(self) -> str:
        """A name as programs have them, mostly one or two words in snake case."""
        u = self.rng.random()
        if u < 0.35:
            return self.noun()
        if u < 0.60:
            return f"{self.from_list('code_verbs')}_{self.noun()}"
        if u < 0.75:
            return f"{self.noun()}_{self.noun()}"
        if u < 0.85:
            return self.short_word()
        if u < 0.92:
            return self.from_list("code_verbs") + self.noun().capitalize()
        return self.from_list("identifiers")

    def function_name(self) -> str:
        """A name for a function."""
        u = self.rng.random()
        if u < 0.35:
            return self.from_list("code_verbs")
        if u < 0.75:
            return f"{self.from_list('code_verbs')}_{self.noun()}"
        return self.identifier()

    def class_name(self) -> str:
        """A name for a class: `Product`."""
        first = self.noun() if self.chance(0.7) else self.thing()
        name = "".join(p.capitalize() for p in first.split("_"))
        return name + self.noun().split("_")[0].capitalize() if self.chance(0.15) else name

    def number(self) -> str:
        """A whole number, mostly small."""
        u = self.rng.random()
        if u < 0.45:
            return str(self.between(0, 99))
        if u < 0.75:
            return str(self.between(100, 999) if self.chance(0.5) else self.between(1, 20) * 50)
        if u < 0.95:
            return str(self.between(1000, 9999))
        return str(self.between(10_000, 999_999))

    def decimal(self) -> str:
        """A number with a point."""
        return f"{self.between(0, 99)}.{self.choice(('5', '25', '75', '1', '2', '3', '99', '50', '05'))}"

    def stem(self) -> str:
        """The name of a file without its ending."""
        u = self.rng.random()
        if u < 0.60:
            return self.from_list("stems")
        if u < 0.82:
            return self.word()
        if u < 0.92:
            return f"{self.short_word()}_{self.choice((self.short_word(), self.from_list('stems')))}"
        if u < 0.96:
            return f"{self.from_list('stems')}{self.between(1, 9)}"
        return f"{self.short_word()}-{self.short_word()}"

    def path(self, extension: str, folder: float = 0.12) -> str:
        """A file's path, with a folder at this probability."""
        name = f"{self.stem()}.{extension}"
        if not self.chance(folder):
            return name
        usual = ("src", "docs", "tests", "data", "lib", "app", "scripts", "notes", "config", "public")
        return f"{self.choice(usual) if self.chance(0.7) else self.short_word()}/{name}"

    def phrase(self, low: int = 1, high: int = 5) -> str:
        """A few words as a person might want them in a file: `good morning`, `Hello Bob`."""
        count = self.between(low, high)
        text = " ".join(self.word() for _ in range(count))
        return style(self, text)

    def greeting(self) -> str:
        """What first programs print."""
        who = self.choice(("world", "World", "there", self.name(), self.name().lower(), self.place(), "everyone"))
        word = self.choice(("hello", "Hello", "hi", "Hi", "hey", "Welcome", "Goodbye", "bye", "hello", "Hello"))
        text = self.choice((word, f"{word} {who}", f"{word} {who}", f"{word}, {who}"))
        return text + ("!" if self.chance(0.25) else "")

    def message(self) -> str:
        """The text of a print: a greeting or a phrase."""
        return self.greeting() if self.chance(0.3) else self.phrase()


def style(draw: Draw, text: str) -> str:
    """`text` with the capitals and marks that people use."""
    u = draw.rng.random()
    if u < 0.6:
        return text
    if u < 0.8:
        text = text[:1].upper() + text[1:]
    elif u < 0.9:
        text = " ".join(w.capitalize() for w in text.split(" "))
    elif u < 0.94:
        text = text.upper()
    return text + (draw.choice(("!", "!", "!", "?")) if draw.chance(0.3) else "")
