"""The o200k_harmony tokenizer, with the vocabulary from this package. Nothing is downloaded."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from gptoss_tui.errors import VocabularyError
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, VOCABULARY_FILE, read_vocabulary, token_pieces

if TYPE_CHECKING:
    import regex
    from openai_harmony import HarmonyEncoding

STARTOFTEXT = 199_998
ENDOFTEXT = 199_999
RETURN = 200_002
CONSTRAIN = 200_003
CHANNEL = 200_005
START = 200_006
END = 200_007
MESSAGE = 200_008
CALL = 200_012

SPECIAL_TOKENS = {
    STARTOFTEXT: "<|startoftext|>",
    ENDOFTEXT: "<|endoftext|>",
    RETURN: "<|return|>",
    CONSTRAIN: "<|constrain|>",
    CHANNEL: "<|channel|>",
    START: "<|start|>",
    END: "<|end|>",
    MESSAGE: "<|message|>",
    CALL: "<|call|>",
}

STOP_TOKENS = (RETURN, CALL, ENDOFTEXT)
"""Tokens that end a generation. END is not among them: after an analysis message the turn continues."""


LONGEST_RUN = 2048
"""Characters. The time for merging grows with the square of the length of a run of letters, punctuation or white space:
half a million equal letters would take minutes. No word is that long, so longer runs are cut and encoded in parts."""

_MAY_BE_LONG = re.compile(rf"\S{{{LONGEST_RUN + 1}}}|\s{{{LONGEST_RUN + 1}}}")


class Tokenizer:
    """Text to token ids and back. `encode` never returns a special id, whatever the text contains."""

    def __init__(self, encoding: HarmonyEncoding, pieces: Sequence[bytes]) -> None:
        self._encoding = encoding
        self._pieces = pieces

    def encode(self, text: str) -> list[int]:
        """Ordinary BPE: `<|end|>` in `text` becomes the tokens of those seven characters."""
        if _MAY_BE_LONG.search(text) is None:
            return self._ids(text)
        bounds = itertools.pairwise((0, *_cuts(text), len(text)))
        return [token for start, end in bounds for token in self._ids(text[start:end])]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode(text, allowed_special=set(), disallowed_special=())
        return ids

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one text token; empty for special and reserved ids."""
        return self._pieces[token_id] if 0 <= token_id < NUM_TEXT_TOKENS else b""

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of `token_ids`, with special tokens spelled out and invalid UTF-8 as U+FFFD."""
        return b"".join(self._spell(i) for i in token_ids).decode("utf-8", errors="replace")

    def _spell(self, token_id: int) -> bytes:
        if 0 <= token_id < NUM_TEXT_TOKENS:
            return self._pieces[token_id]
        return SPECIAL_TOKENS.get(token_id, f"<|reserved_{token_id}|>").encode()


def _cuts(text: str) -> list[int]:
    """Where to cut runs that are too long."""
    return [
        cut for run in _long_runs().finditer(text) for cut in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN)
    ]


@lru_cache(maxsize=1)
def _long_runs() -> regex.Pattern[str]:
    """Runs that the vocabulary's rule never splits and that are too long. Matches only from the beginning of a run."""
    import regex

    kinds = (r"[\p{L}\p{M}]", r"[^\s\p{L}\p{N}]", r"\s")
    return regex.compile("|".join(f"(?<!{kind}){kind}{{{LONGEST_RUN + 1},}}" for kind in kinds))


@lru_cache(maxsize=1)
def load_tokenizer() -> Tokenizer:
    """Return the process's only tokenizer (about 0.4 s the first time, then free).

    Raises VocabularyError when the vocabulary is damaged or there is no place to unpack it.
    """
    from openai_harmony import HarmonyError, load_harmony_encoding  # takes 0.13 s, which would delay the first frame

    data = read_vocabulary()
    pieces = token_pieces(data)
    try:
        with ExitStack() as stack:
            stack.enter_context(_encodings_base(_unpacked(data, stack)))
            encoding = load_harmony_encoding("HarmonyGptOss")
    except (OSError, HarmonyError) as error:
        raise VocabularyError(
            f"The vocabulary cannot be unpacked: {error}",
            hint=f"make {user_cache_path('gptoss-tui')} or the temporary folder writable",
        ) from error
    return Tokenizer(encoding, pieces)


def _unpacked(data: bytes, stack: ExitStack) -> Path:
    """Return a directory with the uncompressed vocabulary: openai-harmony reads it only from a path.

    It is kept in the user's cache; if that is not writable, it lasts as long as `stack`.
    """
    directory = user_cache_path("gptoss-tui") / "vocabulary"
    try:
        _write_vocabulary(directory, data)
    except OSError:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gptoss-tui-")))
        _write_vocabulary(directory, data)
    return directory


def _write_vocabulary(directory: Path, data: bytes) -> None:
    target = directory / VOCABULARY_FILE
    if target.is_file() and target.read_bytes() == data:
        return
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as aside:
        written = Path(aside) / VOCABULARY_FILE
        written.write_bytes(data)
        written.replace(target)  # atomic: another process may be reading


@contextmanager
def _encodings_base(directory: Path) -> Iterator[None]:
    name = "TIKTOKEN_ENCODINGS_BASE"
    before = os.environ.get(name)
    os.environ[name] = str(directory)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
