"""A part of the long runs: `python -m tests.patch.fuzz` and `python -m tests.patch.differential` do more."""

from __future__ import annotations

import random

from tests.patch import fuzz
from tests.patch.differential import compare, make_case, ours


def test_random_patches_change_nothing_but_what_they_say() -> None:
    outcomes = fuzz.run(1500, seed=2)
    assert outcomes["applied"] > 150
    assert outcomes["refused"] > 500


def test_patches_made_from_an_edit_lead_to_that_edit_or_are_honestly_refused() -> None:
    rng = random.Random(3)
    same = 0
    for _ in range(300):
        case = make_case(rng)
        difference = compare(case, ours(case), case.right)
        assert not (difference or "").startswith("!"), f"{difference}\n{case.text}\n{case.files}"
        same += difference is None
    assert same > 200
