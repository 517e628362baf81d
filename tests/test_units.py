"""Sizes as people read them."""

from __future__ import annotations

import pytest

from gptoss_tui.units import format_bytes


@pytest.mark.parametrize(
    ("count", "text"), [(13_761_264_768, "13.8 GB"), (999_000_000, "999.0 MB"), (1_400_000, "1.4 MB"), (500, "0.5 kB")]
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text
