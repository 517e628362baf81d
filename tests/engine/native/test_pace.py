"""Whether the threads share the steps of a small model, as the machine has time for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.engine.native.compiled import compared

STEPS, SHORT = 4096, 512


@pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler")
def test_the_faster_way_is_taken_and_the_other_one_rarely_tried(tmp_path: Path) -> None:
    """Counts of shared steps, and which was the first, while others come and go."""
    lines = [line.split() for line in compared("count_pace.cpp", {}, tmp_path, "c++")]
    counts = {when: (int(shared), int(first)) for when, shared, first in lines}
    assert counts["company"][0] in range(14, 21), "one of 256 in the end"
    for when in ("left", "left-again"):
        shared, first = counts[when]
        assert first < 256
        assert SHORT - first - shared < 8, "once it goes faster it stays"
    assert STEPS - counts["quiet"][0] in range(14, 21)
    assert counts["returned"][0] < 8, "a slow step is not repeated for long"
