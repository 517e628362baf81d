"""What decode steps compute in bfloat16, on the tensor cores of a GPU or on our own reading of its instructions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder

from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.triton.decode import Decoder, DenseSizes
from gptoss_tui.engine.triton.kernels import experts
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.prefill import Prefill
from gptoss_tui.engine.triton.selftest import check_device
from gptoss_tui.engine.triton.weights import load_weights
from tests.engine.triton import ptx
from tests.engine.triton.conftest import DEVICE, FEW, SHALLOW

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

IDS = [7, 30, 31, 9, 2, 61, 17, 44]
PROMPT = 5
SPLITS = 2


@pytest.fixture(autouse=True)
def _tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kernels are interpreted, the way through the tensor cores is taken all the same."""
    if DEVICE.type == "cpu":
        monkeypatch.setattr(InterpreterBuilder, "create_inline_asm", ptx.create_inline_asm)
        monkeypatch.setattr(InterpreterBuilder, "create_dot", ptx.create_dot)
        monkeypatch.setattr(experts, "INTERPRETED", tl.constexpr(False))


class Machine:
    """A model of bfloat16 with a prompt in its cache."""

    def __init__(self, directory: Path) -> None:
        opened = open_checkpoint(directory)
        weights = load_weights(opened.read, opened.config, torch.bfloat16, DEVICE)
        self.cache = KVCache(opened.config, 64, PROMPT, torch.bfloat16, DEVICE)
        self.decoder = Decoder(opened.config, weights, self.cache, FEW, invariant=True)
        self.decoder.dense = DenseSizes(qkv_warps=1, out_warps=1, out_steps=2, head_warps=2, head_strips=2)
        self.prefill = Prefill(self.decoder)

    def start(self) -> None:
        """Nothing but the prompt."""
        self.cache.clear()
        self.cache.reserve(PROMPT)
        self.decoder.state.position.zero_()
        self.prefill.run(torch.tensor(IDS[:PROMPT], device=DEVICE))
        self.cache.commit(IDS[:PROMPT])

    def step(self, ids: list[int]) -> Tensor:
        """Logits [T, V] behind each of `ids`, which go through one step."""
        state = self.decoder.state
        self.cache.reserve(len(ids))
        state.position.fill_(self.cache.length)
        state.count.fill_(len(ids))
        state.xs[: len(ids)].copy_(self.decoder.weights.embedding[torch.tensor(ids, device=DEVICE)])
        self.decoder.layers(SPLITS, len(ids))
        self.decoder.logits(len(ids))
        self.cache.commit(ids)
        return state.all_logits[: len(ids)].cpu().clone()


def test_a_step_of_several_tokens_gives_the_same_bits(checkpoint: Callable[[str], Path]) -> None:
    """As many steps of one token do: drafts must not change what a near tie is decided for."""
    machine = Machine(checkpoint(SHALLOW))
    machine.start()
    alone = torch.cat([machine.step([token]) for token in IDS[PROMPT : PROMPT + 3]])
    machine.start()
    together = torch.cat([machine.step(IDS[PROMPT : PROMPT + 2]), machine.step([IDS[PROMPT + 2]])])
    assert torch.isfinite(alone).all()
    assert torch.equal(together, alone)


def test_a_layer_of_each_kind_agrees_with_the_reference(checkpoint: Callable[[str], Path]) -> None:
    """By the check that every start makes."""
    machine = Machine(checkpoint(SHALLOW))
    check_device(machine.decoder, machine.prefill)


def test_an_instruction_that_loses_its_input_is_noticed() -> None:
    """The compiler may put an output where an input is, unless it is told not to."""
    text, zeros = "{\nmov.b32 $0, $1;\nmov.b32 $0, $1;\n}", torch.zeros(32, 1, dtype=torch.int32).numpy()
    ptx.inline_asm(text, "=&r,r", [zeros], [zeros.dtype], 1)
    with pytest.raises(AssertionError, match="read after"):
        ptx.inline_asm(text, "=r,r", [zeros], [zeros.dtype], 1)
