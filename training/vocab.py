"""Stems, flags and the split of the vocabulary into common, rare and unused ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gptoss_tui.harmony.tokenizer import SPECIAL_TOKENS, Tokenizer
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, VOCAB_SIZE

_SPACE, _CAPITALISED, _UPPER, _MIXED, _NO_WORD = 1, 2, 4, 6, 8
"""Bits of a flag: leading space, and how letters are cased. Special tokens are no words."""


def stems_and_flags(tokenizer: Tokenizer) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """For every id the number of its stem (the smallest id of the same stem) and its flags, both [VOCAB_SIZE]."""
    stem = np.arange(VOCAB_SIZE, dtype=np.int32)
    flags = np.full(VOCAB_SIZE, _NO_WORD, dtype=np.uint8)
    first: dict[bytes, int] = {}
    for token in range(NUM_TEXT_TOKENS):
        key, flag = _split(tokenizer.token_bytes(token))
        stem[token] = first.setdefault(key, token)
        flags[token] = flag
    return stem, flags


def _split(piece: bytes) -> tuple[bytes, int]:
    flag = 0
    if len(piece) > 1 and piece.startswith(b" "):
        piece, flag = piece[1:], _SPACE
    letters = piece.decode("ascii", errors="ignore")
    if not (letters and len(letters) == len(piece) and any(c.isalpha() for c in letters)):
        return piece, flag | _NO_WORD
    if letters == letters.lower():
        return piece, flag
    if letters == letters.capitalize():
        return piece.lower(), flag | _CAPITALISED
    if letters == letters.upper():
        return piece.lower(), flag | _UPPER
    return piece, flag | _MIXED


def spoken_ids(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """Ids that nano may write: printable ASCII text and the named special tokens. [VOCAB_SIZE]"""
    allowed = set(range(32, 127)) | {9, 10}
    spoken = np.zeros(VOCAB_SIZE, dtype=np.bool_)
    for token in range(NUM_TEXT_TOKENS):
        spoken[token] = allowed.issuperset(tokenizer.token_bytes(token))
    spoken[list(SPECIAL_TOKENS)] = True
    return spoken


def common_ids(
    counts: npt.NDArray[np.int64], spoken: npt.NDArray[np.bool_], limit: int, always: Sequence[int] = ()
) -> npt.NDArray[np.int32]:
    """The `limit` most frequent spoken ids, sorted; special tokens and `always` are among them."""
    must = sorted({*SPECIAL_TOKENS, *always})
    weight = np.where(spoken, counts, -1)
    weight[must] = np.iinfo(np.int64).max
    best = np.argsort(-weight, kind="stable")[:limit]
    return np.sort(best[weight[best] > 0]).astype(np.int32)
