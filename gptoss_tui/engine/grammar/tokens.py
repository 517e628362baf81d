"""Text tokens sorted by their bytes. The sorted list serves as a trie that takes no time to build."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from gptoss_tui.vocabulary import NUM_TEXT_TOKENS, read_vocabulary, token_pieces

NEWLINE: Final = b"\n"
MASK_BYTES: Final = -(-NUM_TEXT_TOKENS // 8)
LAST_BYTE: Final = (1 << (NUM_TEXT_TOKENS - 8 * (MASK_BYTES - 1))) - 1
"""The bits of a mask's last byte that stand for text tokens."""


class TokenTable:
    """`pieces` are the tokens' bytes by id, `sorted` the same bytes in order, `ids` the id of each sorted entry.

    `without_newline` is a mask of tokens. `behind_newline` groups all other tokens by the bytes after their first line
    end; each entry is a pair of the bytes before it and the token.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.ids = sorted(range(len(pieces)), key=pieces.__getitem__)
        self.sorted = [pieces[token] for token in self.ids]
        mask = bytearray(b"\xff" * MASK_BYTES)
        mask[-1] = LAST_BYTE
        groups: dict[bytes, list[tuple[bytes, int]]] = {}
        for token, piece in enumerate(pieces):
            if NEWLINE in piece:
                before, _, behind = piece.partition(NEWLINE)
                groups.setdefault(behind, []).append((before, token))
                mask[token >> 3] &= ~(1 << (token & 7))
        self.without_newline = bytes(mask)
        self.behind_newline = groups

    def span(self, prefix: bytes, start: int, stop: int) -> tuple[int, int]:
        """The span within `sorted[start:stop]` of the tokens that begin with `prefix`."""
        first = bisect_left(self.sorted, prefix, start, stop)
        last = prefix[-1]
        return first, stop if last == 255 else bisect_left(self.sorted, prefix[:-1] + bytes([last + 1]), first, stop)


@lru_cache(maxsize=1)
def token_table() -> TokenTable:
    """The table for o200k, built on the first call."""
    return TokenTable(token_pieces(read_vocabulary()))


def with_tokens(mask: bytes, tokens: Iterable[int]) -> bytes:
    """`mask` with the bits of `tokens` set in addition."""
    bits = bytearray(mask)
    for token in tokens:
        bits[token >> 3] |= 1 << (token & 7)
    return bytes(bits)
