"""The program that compares the engine with Hugging Face's model sees what is wrong: it runs on GPUs only."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gptoss_tui.engine.config import GPT_OSS_20B
from tests.engine.triton.hugging_face import EXACT, MATCH, Lengths, random_texts
from tests.engine.triton.oracle import Case, Row, difference

WANTED = 2.5 * torch.randn((3, 50_000), generator=torch.Generator().manual_seed(1))


def noisy(share: float, seed: int) -> Tensor:
    """The wanted logits with a relative error."""
    return WANTED + share * 2.5 * torch.randn(WANTED.shape, generator=torch.Generator().manual_seed(seed))


def row(got: Tensor, theirs: Tensor | None = None) -> Row:
    """A case with such logits."""
    other = None if theirs is None else difference(theirs, WANTED)
    return Row(Case("case", "text", 0, got), difference(got, WANTED), EXACT, other)


@pytest.mark.parametrize(("share", "holds"), [(0.001, True), (0.013, True), (0.017, False)])
def test_the_error_is_measured_by_theirs(share: float, holds: bool) -> None:
    """Half as much again is allowed, of theirs in this case or of what theirs usually is."""
    found = row(noisy(share, 2), noisy(0.01, 3))
    lucky = row(noisy(share, 2), noisy(0.001, 4))
    assert found.ours.error == pytest.approx(share, rel=0.05)
    assert found.holds([found]) == holds
    assert lucky.holds([found, lucky, found]) == holds


def test_one_wrong_logit_is_seen() -> None:
    """It hardly counts in the norm, but the best token is another one and no near tie."""
    wrong = noisy(0.005, 2)
    wrong[1, 17] = 15.0
    found = row(wrong, noisy(0.01, 3))
    assert found.ours.error < found.bound([found])
    assert found.ours.others == 1
    assert not found.holds([found])


def test_what_is_not_a_number_fails() -> None:
    """As does a case that did not try what it should."""
    good, bad = row(WANTED.clone()), row(WANTED.clone().index_fill_(0, torch.tensor([2]), torch.nan))
    assert good.holds([good])
    assert not bad.holds([bad])
    faulty = replace(good, case=replace(good.case, fault="nothing was cached"))
    assert not faulty.holds([faulty])


def test_in_float32_nearly_nothing_is_allowed() -> None:
    """Theirs in bfloat16 is not there to be compared with."""
    near, far = row(noisy(EXACT / 2, 2)), row(noisy(EXACT * 2, 2))
    assert near.holds([near, far])
    assert not far.holds([near, far])


def test_the_copying_text_can_be_drafted() -> None:
    """Its answer goes on with what followed the same tokens at its beginning, and breaks off once."""
    n = Lengths()
    ids = random_texts(GPT_OSS_20B, n)["copies"]
    assert len(ids) == n.copied + n.steps
    assert ids[n.copied - MATCH : n.copied + n.steps // 2] == ids[: MATCH + n.steps // 2]
    assert ids[n.copied + n.steps // 2] != ids[MATCH + n.steps // 2]
