"""The common prefix of two token histories."""

from __future__ import annotations

import pytest

from gptoss_tui.engine.cache.prefix import common_prefix, prefix_digest


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [([], [], 0), ([1], [], 0), ([1, 2, 3], [1, 2, 3], 3), ([1, 2, 3], [1, 2], 2), ([1, 9, 3], [1, 2, 3], 1)],
)
def test_common_prefix(first: list[int], second: list[int], expected: int) -> None:
    """Equal tokens behind a difference do not count."""
    assert common_prefix(first, second) == expected
    assert common_prefix(second, first) == expected


def test_a_digest_names_exactly_these_tokens() -> None:
    """However they are held; order and length count."""
    assert prefix_digest([1, 2, 300]) == prefix_digest((1, 2, 300))
    assert len({prefix_digest(tokens) for tokens in ([], [0], [0, 0], [1, 2], [2, 1], [258], [201_087])}) == 7
