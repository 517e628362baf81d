"""The o200k_harmony vocabulary: the bytes of each text token, shipped in the package, and the ids of special tokens."""

from __future__ import annotations

import base64
import gzip
import hashlib
from importlib import resources

from gptoss_tui.errors import VocabularyError

VOCABULARY_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
VOCABULARY_FILE = "o200k_base.tiktoken"

NUM_TEXT_TOKENS = 199_998
"""Ids below this number are text tokens; this id and those above it are special tokens."""

VOCAB_SIZE = 201_088

USED_SPECIAL_TOKENS = (200_002, 200_003, 200_005, 200_006, 200_007, 200_008, 200_012)
"""The special tokens of conversations: return, constrain, channel, start, end, message, call.

The other special ids have weights but no meaning.
"""


def read_vocabulary() -> bytes:
    """Read and decompress the vocabulary file. Raises VocabularyError when its published sha256 does not match."""
    packed = resources.files("gptoss_tui").joinpath("data", f"{VOCABULARY_FILE}.gz").read_bytes()
    data = gzip.decompress(packed)
    if hashlib.sha256(data).hexdigest() != VOCABULARY_SHA256:
        raise VocabularyError(
            "The vocabulary file in the package is damaged",
            hint="reinstall gptoss-tui",
        )
    return data


def token_pieces(vocabulary: bytes) -> list[bytes]:
    """The bytes of each text token, indexed by id."""
    return [base64.b64decode(line[: line.index(b" ")]) for line in vocabulary.splitlines()]
