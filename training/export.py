"""The trained model in its shipped, compact form (`gptoss_tui/engine/nano/compact.py`)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from training.model import Block, Nano, Vocabulary, mxfp4_scale

_MAGNITUDES = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def mxfp4_pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight [..., out, in] -> blocks [..., out, in / 32, 16] and scales [..., out, in / 32], both uint8.

    The rounding is the one that training saw (`mxfp4_round`): nearest, ties to the even step.
    """
    scale = mxfp4_scale(weight)
    x = weight.unflatten(-1, (-1, 32)) / scale[..., None]
    step = torch.where(x.abs() < 2.0, 0.5, torch.where(x.abs() < 4.0, 1.0, 2.0))
    x = (x / step).round() * step
    code = torch.bucketize(x.abs().contiguous(), _MAGNITUDES.to(x.device)).to(torch.uint8)
    code = code | ((x < 0).to(torch.uint8) << 3)
    blocks = code[..., 0::2] | (code[..., 1::2] << 4)
    return blocks, (torch.log2(scale).round() + 127).to(torch.uint8)


def block_tensors(block: Block, layer: int) -> dict[str, Tensor]:
    """One layer under the names of the original checkpoint."""
    p = f"block.{layer}"
    blocks1, scales1 = mxfp4_pack(block.mlp1.float())
    blocks2, scales2 = mxfp4_pack(block.mlp2.float())
    plain = {
        "attn.norm.scale": block.attn_norm,
        "attn.qkv.weight": block.qkv,
        "attn.qkv.bias": block.qkv_bias,
        "attn.sinks": block.sinks,
        "attn.out.weight": block.out,
        "attn.out.bias": block.out_bias,
        "mlp.norm.scale": block.mlp_norm,
        "mlp.gate.weight": block.gate,
        "mlp.gate.bias": block.gate_bias,
        "mlp.mlp1_bias": block.mlp1_bias,
        "mlp.mlp2_bias": block.mlp2_bias,
    }
    tensors = {f"{p}.{name}": value.bfloat16() for name, value in plain.items()}
    return tensors | {
        f"{p}.mlp.mlp1_weight.blocks": blocks1,
        f"{p}.mlp.mlp1_weight.scales": scales1,
        f"{p}.mlp.mlp2_weight.blocks": blocks2,
        f"{p}.mlp.mlp2_weight.scales": scales2,
    }


def vocabulary_tensors(v: Vocabulary, stem: Tensor) -> dict[str, Tensor]:
    """What the rows are computed from."""
    delta = v.delta[: len(v.common)].float()
    scale = delta.abs().amax(-1, keepdim=True).clamp_min(1e-8) / 127
    spoken = torch.zeros(len(v.flags), dtype=torch.bool)
    spoken[v.common.cpu()] = True
    spoken[v.rare.cpu()] = True
    return {
        "vocabulary.stem": stem,
        "vocabulary.flags": v.flags.to(torch.uint8),
        "vocabulary.spoken": spoken.to(torch.uint8),
        "vocabulary.common": v.common.to(torch.int32),
        "vocabulary.flag_rows": v.flag_rows.float(),
        "vocabulary.delta": (delta / scale).round().to(torch.int8),
        "vocabulary.delta_scale": scale.squeeze(1),
        "vocabulary.unused_row": v.unused.float(),
    }


@torch.no_grad()
def save_compact(model: Nano, path: Path) -> None:
    """Write the compact file; replaces `path` at once."""
    tensors = {"norm.scale": model.norm.bfloat16()} | vocabulary_tensors(model.vocabulary, model.vocabulary.stem)
    for layer, block in enumerate(model.blocks):
        tensors |= block_tensors(block, layer)  # type: ignore[arg-type]
    config = {k: v for k, v in asdict(model.shape).items()}
    temporary = path.with_suffix(".part")
    save_file(
        {name: t.detach().contiguous().cpu() for name, t in tensors.items()},
        temporary,
        metadata={"config": json.dumps(config), "format": "gptoss-tui nano 1"},
    )
    temporary.replace(path)
