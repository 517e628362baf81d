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
from gptoss_tui.engine.torch.model import rms_norm
from gptoss_tui.engine.triton import dense
from gptoss_tui.engine.triton.decode import Decoder, DenseSizes
from gptoss_tui.engine.triton.kernels import experts
from gptoss_tui.engine.triton.kernels.dense import logits_tiles_kernel, out_tiles_kernel
from gptoss_tui.engine.triton.kernels.norm import scale_kernel
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.prefill import Prefill
from gptoss_tui.engine.triton.selftest import check_device
from gptoss_tui.engine.triton.weights import load_weights
from gptoss_tui.errors import EngineError
from tests.engine.triton import ptx
from tests.engine.triton.conftest import DEVICE, FEW, GROUPED, SHALLOW

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

    def __init__(self, directory: Path, *, eight_bit: bool = False) -> None:
        opened = open_checkpoint(directory)
        weights = load_weights(opened.read, opened.config, torch.bfloat16, DEVICE, eight_bit=eight_bit)
        self.cache = KVCache(opened.config, 64, PROMPT, torch.bfloat16, DEVICE)
        self.decoder = Decoder(opened.config, weights, self.cache, FEW, tiled=True)
        self.decoder.dense = DenseSizes(qkv_warps=1, out_warps=1, out_steps=2, head_warps=2, qkv_steps=2)
        self.prefill = Prefill(self.decoder)

    def start(self) -> None:
        """Nothing but the prompt."""
        self.cache.clear()
        self.cache.reserve(PROMPT)
        self.decoder.state.position.zero_()
        self.prefill.run(torch.tensor(IDS[:PROMPT], device=DEVICE))
        self.cache.commit(IDS[:PROMPT])

    def step(self, ids: list[int], real: int) -> Tensor:
        """Logits [real, V] behind each of the first `real` of `ids`, which go through one step."""
        state = self.decoder.state
        self.cache.reserve(len(ids))
        state.position.fill_(self.cache.length)
        state.count.fill_(real)
        state.xs[: len(ids)].copy_(self.decoder.weights.embedding[torch.tensor(ids, device=DEVICE)])
        self.decoder.layers(SPLITS, len(ids))
        self.decoder.logits(len(ids))
        self.cache.commit(ids[:real])
        return state.all_logits[:real].cpu().clone()


def test_a_step_of_several_tokens_gives_the_same_bits(checkpoint: Callable[[str], Path]) -> None:
    """As many steps of one token do: drafts must not change what a near tie is decided for. One of them is not real."""
    machine = Machine(checkpoint(GROUPED))
    machine.start()
    alone = torch.cat([machine.step([token], 1) for token in IDS[PROMPT:]])
    machine.start()
    together = machine.step([*IDS[PROMPT:], 12], len(IDS) - PROMPT)
    assert torch.isfinite(alone).all()
    assert torch.equal(together, alone)


@pytest.mark.parametrize("eight_bit", [False, True])
def test_a_layer_of_each_kind_agrees_with_the_reference(checkpoint: Callable[[str], Path], eight_bit: bool) -> None:
    """By the check that every start makes."""
    machine = Machine(checkpoint(SHALLOW), eight_bit=eight_bit)
    check_device(machine.decoder, machine.prefill)


@pytest.mark.parametrize("rows", [5, 40])
def test_eight_bits_are_near(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Within half a step of each group's scale and what rounding the scale adds, also where it is widened in parts."""
    monkeypatch.setattr(dense, "_SLICE", 16)
    matrix = torch.randn((rows, 192), generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    matrix[1, 64:128] = 0
    matrix[2] *= 100
    held = dense.to_eight_bits(matrix)
    assert held.nbytes == rows * 192 + rows * 3 * 2
    steps = matrix.float().view(rows, 3, 64).abs().amax(2, keepdim=True) / 127
    error = (held[:].float() - matrix.float()).view(rows, 3, 64).abs()
    assert bool((error <= steps * (0.5 + 127 / 256) + 1e-9).all())
    assert float((error / steps.clamp(min=1e-9)).mean()) < 0.3
    x = torch.randn((3, 192), generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    bias = torch.ones(rows, dtype=torch.bfloat16)
    torch.testing.assert_close(dense.linear(x, held, bias), torch.nn.functional.linear(x, held[:]) + bias)
    with pytest.raises(EngineError, match="multiple of 64"):
        dense.to_eight_bits(matrix[:, :96])


def test_an_instruction_that_loses_its_input_is_noticed() -> None:
    """The compiler may put an output where an input is, unless it is told not to."""
    text, zeros = "{\nmov.b32 $0, $1;\nmov.b32 $0, $1;\n}", torch.zeros(32, 1, dtype=torch.int32).numpy()
    ptx.inline_asm(text, "=&r,r", [zeros], [zeros.dtype], 1)
    with pytest.raises(AssertionError, match="read after"):
        ptx.inline_asm(text, "=r,r", [zeros], [zeros.dtype], 1)


@pytest.mark.parametrize("eight_bit", [False, True])
def test_columns_come_in_turns(eight_bit: bool) -> None:
    """Of which the last is half empty; in steps, and with vectors that stay for several rows."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn((40, 192), generator=generator).to(DEVICE, torch.bfloat16)
    held = dense.to_eight_bits(weight) if eight_bit else weight
    values, scales = (held.values, held.scales) if isinstance(held, dense.EightBit) else (held, held)
    x, gain = (torch.randn(size, generator=generator).to(DEVICE) for size in ((3, 192), (192,)))
    vectors, squares = x.to(torch.bfloat16), torch.empty((3, 12), device=DEVICE)
    scale_kernel[(2, 3)](x, gain, vectors, squares, H=192, BLOCK=8, OVERLAP=False)
    torch.testing.assert_close(vectors.float(), x * gain, rtol=2**-7, atol=0)
    got, shape = torch.empty((3, 40), device=DEVICE), {"WARPS": 2, "TOKENS": 3, "EIGHT": eight_bit, "num_warps": 2}
    logits_tiles_kernel[(2,)](
        vectors, squares, values, scales, got, H=192, V=40, EPS=1e-5, PROGRAMS=2, STEPS=2, OVERLAP=False, **shape
    )  # fmt: skip
    wanted = rms_norm(x, gain) @ held[:].float().T
    torch.testing.assert_close(got, wanted, rtol=0, atol=float(0.01 * wanted.abs().max()))
    total = torch.ones((3, 40), device=DEVICE)
    out_tiles_kernel[(3,)](
        vectors, values, scales, weight[:, 0].contiguous(), total, H=40, WIDTH=192, STEPS=2, OVERLAP=False, **shape
    )
    wanted = 1 + vectors.float() @ held[:].float().T + weight[:, 0].float()
    torch.testing.assert_close(total, wanted, rtol=0, atol=float((0.01 if eight_bit else 1e-5) * wanted.abs().max()))
