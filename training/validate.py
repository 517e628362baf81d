"""Exact match on held-out prompts, on the GPU, in seconds.

Greedy decoding writes the expected tokens if and only if each of them is the arg-max after the ones before it, so one
forward pass over the prompt and the expected text is enough to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from training.model import Nano

Masks = Callable[[Tensor, Tensor], tuple[BlockMask, BlockMask]]
"""From document and position numbers [B, T] to the sliding and the full mask."""


@dataclass(frozen=True, slots=True)
class Case:
    """A held-out prompt and what should follow."""

    skill: str
    prompt: Sequence[int]
    expected: Sequence[int]


@dataclass(frozen=True, slots=True)
class Miss:
    """The first wrong token of a case."""

    case: Case
    at: int
    got: int


@torch.no_grad()
def misses(model: Nano, cases: Sequence[Case], masks: Masks, *, rows: int, length: int) -> list[Miss | None]:
    """For each case the first wrong token, or None. Cases longer than `length` are cut there."""
    device = model.norm.device
    words = torch.cat((model.vocabulary.common, model.vocabulary.rare))
    table = model.vocabulary.rows(words).bfloat16()
    found: list[Miss | None] = []
    for start in range(0, len(cases), rows):
        batch = cases[start : start + rows]
        ids = torch.zeros(rows, length, dtype=torch.long)
        doc = torch.ones(rows, length, dtype=torch.int32)
        for row, case in enumerate(batch):
            text = torch.tensor([*case.prompt, *case.expected])[:length]
            ids[row, : len(text)] = text
            doc[row, : len(text)] = 0
        pos = torch.arange(length, dtype=torch.int32).expand(rows, length).contiguous().to(device)
        hidden, _ = model.hidden(ids.to(device), pos, *masks(doc.to(device), pos))
        for row, case in enumerate(batch):
            first = len(case.prompt) - 1
            best = words[(hidden[row, first : first + len(case.expected)] @ table.T).argmax(-1)].tolist()
            wrong = (k for k, (got, want) in enumerate(zip(best, case.expected, strict=False)) if got != want)
            at = next(wrong, None)
            found.append(None if at is None else Miss(case, at, best[at]))
    return found


def summary(cases: Sequence[Case], found: Sequence[Miss | None]) -> str:
    """`create 120/137, python 80/80`."""
    skills = sorted({c.skill for c in cases})
    pairs = list(zip(cases, found, strict=True))
    return ", ".join(
        f"{s} {sum(m is None for c, m in pairs if c.skill == s)}/{sum(c.skill == s for c in cases)}" for s in skills
    )
