"""Token ids as text, with control tokens spelled out, for servers that accept and return only text.

Such text cannot tell `<|end|>` the token from `<|end|>` the seven characters. Text in the prompt that looks like a
token is therefore written `<¦end¦>`: a file or a web page cannot end a message or begin one. What the model writes is
read as the tokens that it spells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from gptoss_tui.harmony.messages import Message
from gptoss_tui.harmony.parts import PartsReader, open_header
from gptoss_tui.harmony.render import assistant_start, render_message
from gptoss_tui.harmony.tokenizer import (
    CALL,
    CHANNEL,
    END,
    MESSAGE,
    RETURN,
    SPECIAL_TOKENS,
    START,
    STOP_TOKENS,
    Tokenizer,
)
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS

_LOOKALIKE = re.compile(r"<\|(\w+)\|>")
_IDS = {name: token for token, name in SPECIAL_TOKENS.items()}
_NAMES = re.compile("(" + "|".join(re.escape(name) for name in _IDS) + ")")
_LONGEST = max(map(len, _IDS))


class Spelling:
    """Converts in both directions, with the conversation's tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    stops: tuple[int, ...] = STOP_TOKENS

    def greeting(self) -> list[int]:
        """The shortest conversation that a model can answer."""
        return [*render_message(self._tokenizer, Message("user", "Hi")), *assistant_start(self._tokenizer)]

    def begins_message(self, token_ids: Sequence[int]) -> bool:
        """Whether a message after `<|start|>assistant` begins like this."""
        return token_ids[:1] == [CHANNEL]

    def spell(self, token_ids: Sequence[int]) -> str:
        """The text of a prompt. Ordinary text that looks like a token is altered."""
        pieces = []
        for is_text, run in groupby(token_ids, lambda token: token < NUM_TEXT_TOKENS):
            text = self._tokenizer.decode(list(run))
            pieces.append(_LOOKALIKE.sub(r"<¦\1¦>", text) if is_text else text)
        return "".join(pieces)

    def encode(self, text: str) -> list[int]:
        """Encode text that has no tokens spelled out."""
        return self._tokenizer.encode(text)

    def reader(self) -> SpellingReader:
        """A reader for one generation."""
        return SpellingReader(self._tokenizer)

    def parts(self, *, answering: bool) -> PartsReader:
        """A reader for a generation that the server has parsed."""
        return PartsReader(self._tokenizer, answering=answering)

    def open_header(self, prompt: list[int]) -> tuple[list[int], bool] | None:
        """See `parts.open_header`."""
        return open_header(prompt, self._tokenizer)


class SpellingReader:
    """Converts a model's text to token ids as it streams. The name of a token may be cut anywhere."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._rest = ""
        self._header: list[int] = []
        self._in_header = True
        self._last: int | None = None

    def feed(self, text: str) -> list[int]:
        """Add text; returns the tokens that are certain by now."""
        text = self._rest + text
        cut = _end_of_certain(text)
        self._rest = text[cut:]
        return self._read(text[:cut])

    def finish(self, stopped: bool) -> list[int]:
        """The remaining tokens. If the model `stopped` by itself, adds the stop token, which servers do not send."""
        token_ids = self._read(self._rest)
        self._rest = ""
        if stopped and self._last not in STOP_TOKENS:
            called = not self._in_header and " to=" in self._tokenizer.decode(self._header)
            token_ids.append(CALL if called else RETURN)
        return token_ids

    def _read(self, text: str) -> list[int]:
        token_ids: list[int] = []
        for piece in _NAMES.split(text):
            if piece:
                token_ids += [_IDS[piece]] if piece in _IDS else self._tokenizer.encode(piece)
        for token in token_ids:
            self._follow(token)
        return token_ids

    def _follow(self, token: int) -> None:
        self._last = token
        if token in (START, END):
            self._header, self._in_header = [], token == START
        elif token == MESSAGE:
            self._in_header = False
        elif self._in_header:
            self._header.append(token)


def _end_of_certain(text: str) -> int:
    """The end of the text that is certain: after it may stand the beginning of a token's name."""
    at = text.rfind("<", max(0, len(text) - _LONGEST))
    if at < 0:
        return len(text)
    tail = text[at:]
    return at if any(name.startswith(tail) and name != tail for name in _IDS) else len(text)
