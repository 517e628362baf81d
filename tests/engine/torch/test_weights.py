"""Rows of the unembedding that are alike are kept once, and the logits are those of the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint.random_weights import random_tensor
from gptoss_tui.engine.checkpoint.tensors import tensor_table
from gptoss_tui.engine.torch.model import Transformer
from gptoss_tui.engine.torch.weights import distinct_rows, load_weights
from tests.conformance.shapes import SMALL

DTYPES = (torch.bfloat16, torch.float32)


def matrix(rows: int, repeated: int, dtype: torch.dtype) -> Tensor:
    """Random [rows, 64] of which `repeated`, and the last one, are alike."""
    values = torch.randn(rows, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    values[torch.randperm(rows - 1, generator=torch.Generator().manual_seed(1))[:repeated]] = values[-1].clone()
    return values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("repeated", [1300, 9999])
def test_every_row_is_found_again_bit_for_bit(dtype: torch.dtype, repeated: int) -> None:
    """And each of the repeated ones is there once."""
    whole = matrix(10_000, repeated, dtype)
    found = distinct_rows(whole)
    assert found is not None
    rows, place = found
    assert rows.shape == (10_000 - repeated, 64)
    assert torch.equal(rows[place.long()], whole)


def test_rows_that_only_begin_alike_are_kept() -> None:
    """Also those that differ in the sign of a zero."""
    whole = matrix(1000, 500, torch.float32)
    alike = (whole == whole[-1]).all(1).nonzero()[:, 0]
    whole[alike, 63] = 0.0
    whole[alike[7], 63] = -0.0
    whole[alike[8], 40] += 1.0
    found = distinct_rows(whole)
    assert found is not None
    rows, place = found
    assert len(rows) == 1000 - 500 + 2
    assert torch.equal(rows[place.long()].view(torch.int32), whole.view(torch.int32))


@pytest.mark.parametrize("repeated", [0, 100])
def test_a_few_repeats_are_not_worth_a_copy(repeated: int) -> None:
    """The weights stay as they are mapped from the file."""
    assert distinct_rows(matrix(1000, repeated, torch.bfloat16)) is None


@pytest.mark.parametrize("positions", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_are_those_of_the_whole_unembedding(dtype: torch.dtype, positions: int) -> None:
    """A model in which half of the ids have one row."""
    table = tensor_table(SMALL)
    whole = random_tensor("unembedding.weight", table["unembedding.weight"], 5)
    whole[SMALL.vocab_size // 2 :] = whole[-1].clone()

    def read(name: str) -> Tensor:
        return whole if name == "unembedding.weight" else random_tensor(name, table[name], 5)

    weights = load_weights(read, SMALL, dtype, torch.device("cpu"))
    assert len(weights.unembedding) == SMALL.vocab_size // 2 + 1
    plain = replace(weights, unembedding=whole.to(dtype), unembedding_row=None)
    states = torch.randn(positions, SMALL.hidden_size).to(dtype)
    logits = Transformer(SMALL, weights, 8).logits(states)
    assert logits.shape == (positions, SMALL.vocab_size)
    torch.testing.assert_close(logits, Transformer(SMALL, plain, 8).logits(states))
