"""Float32 logits of the torch engine against two implementations that share no code with it.

One is the PyTorch model that OpenAI published (`gpt_oss.torch.model`), the other is `GptOssForCausalLM` of
transformers. The other engines are compared with the torch engine, by tests of their own.

Both run on the CPU in float32: a bfloat16 run of either differs from itself by more than a wrong sign would show.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gptoss_tui.engine.config import Layout
from tests.conformance.runs import float32_model, run_chunks

TOLERANCE = 2e-4
"""On logits with a standard deviation of about 2.5."""


@pytest.mark.parametrize("layout", ["original", "huggingface"])
def test_logits_agree_with_the_published_model(
    reference: ModuleType,
    checkpoint: Callable[[str, Layout], Path],
    shape: str,
    layout: Layout,
    tokens: list[int],
) -> None:
    """The wheel's model reads its own layout with its own loader; ours reads either.

    `Transformer.from_checkpoint` is given the CPU. What keeps the package from it, `init_distributed`, is not called.
    """
    oracle = reference.Transformer.from_checkpoint(str(checkpoint(shape, "original")), device="cpu").float()
    with torch.inference_mode():
        expected = oracle(torch.tensor(tokens))
    _assert_same_logits(run_chunks(float32_model(checkpoint(shape, layout)), tokens), expected)


@pytest.mark.parametrize("layout", ["original", "huggingface"])
def test_logits_agree_with_transformers(
    checkpoint: Callable[[str, Layout], Path], shape: str, layout: Layout, tokens: list[int]
) -> None:
    """`GptOssForCausalLM` with eager attention, built from the config.json that our writer made."""
    oracle = _transformers_model(checkpoint(shape, "huggingface"))
    with torch.inference_mode():
        expected = oracle(torch.tensor([tokens])).logits[0]
    _assert_same_logits(run_chunks(float32_model(checkpoint(shape, layout)), tokens), expected)


def _assert_same_logits(got: Tensor, expected: Tensor) -> None:
    assert got.dtype == torch.float32
    assert got.shape == expected.shape
    assert float(expected.std()) > 0.5  # a model whose logits are all alike would agree with anything
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)


def _transformers_model(directory: Path) -> torch.nn.Module:
    """Its own names, its own unpacking of MXFP4, our config.json with all that it says."""
    # Three seconds to import, which only the process that runs this pays.
    from transformers import GptOssConfig, GptOssForCausalLM
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    values = json.loads((directory / "config.json").read_text())
    del values["quantization_config"]  # the experts are unpacked here, and no kernels are looked for
    model = GptOssForCausalLM._from_config(GptOssConfig.from_dict(values), attn_implementation="eager").float().eval()
    state: dict[str, Tensor] = {}
    for file in directory.glob("*.safetensors"):
        state |= load_file(file)
    for name in [name.removesuffix("_blocks") for name in state if name.endswith("_blocks")]:
        blocks, scales = state.pop(f"{name}_blocks"), state.pop(f"{name}_scales")
        state[name] = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    model.load_state_dict(state)
    return model
