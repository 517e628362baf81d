"""The common prefix of two token histories."""

from __future__ import annotations

import pytest

from gptoss_tui.engine.prefix import common_prefix


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [([], [], 0), ([1], [], 0), ([1, 2, 3], [1, 2, 3], 3), ([1, 2, 3], [1, 2], 2), ([1, 9, 3], [1, 2, 3], 1)],
)
def test_common_prefix(first: list[int], second: list[int], expected: int) -> None:
    """Equal tokens behind a difference do not count."""
    assert common_prefix(first, second) == expected
    assert common_prefix(second, first) == expected
