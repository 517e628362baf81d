"""The trained model in its shipped, compact form (`gptoss_tui/engine/nano/compact.py`)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gptoss_tui.engine.torch.mxfp4 import dequantize
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


_PLAIN = {
    "attn.norm.scale": "attn_norm",
    "attn.qkv.weight": "qkv",
    "attn.qkv.bias": "qkv_bias",
    "attn.sinks": "sinks",
    "attn.out.weight": "out",
    "attn.out.bias": "out_bias",
    "mlp.norm.scale": "mlp_norm",
    "mlp.gate.weight": "gate",
    "mlp.gate.bias": "gate_bias",
    "mlp.mlp1_bias": "mlp1_bias",
    "mlp.mlp2_bias": "mlp2_bias",
}
_PACKED = {"mlp.mlp1_weight": "mlp1", "mlp.mlp2_weight": "mlp2"}
"""Checkpoint names and the trainer's."""


def block_tensors(block: Block, layer: int) -> dict[str, Tensor]:
    """One layer under the names of the original checkpoint."""
    tensors = {f"block.{layer}.{name}": getattr(block, ours).bfloat16() for name, ours in _PLAIN.items()}
    for name, ours in _PACKED.items():
        blocks, scales = mxfp4_pack(getattr(block, ours).float())
        tensors |= {f"block.{layer}.{name}.blocks": blocks, f"block.{layer}.{name}.scales": scales}
    return tensors


def vocabulary_tensors(v: Vocabulary, stem: Tensor) -> dict[str, Tensor]:
    """The tensors that token rows are computed from."""
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
    temporary = path.with_suffix(".part")
    save_file(
        {name: t.detach().contiguous().cpu() for name, t in tensors.items()},
        temporary,
        metadata={"config": json.dumps(asdict(model.shape)), "format": "gptoss-tui nano 1"},
    )
    temporary.replace(path)


@torch.no_grad()
def load_compact(model: Nano, path: Path) -> None:
    """Go on from a compact file. Common ids of now and then may differ: rows that are new keep their first value."""
    stored = load_file(path)
    model.norm.copy_(stored["norm.scale"])
    for layer, block in enumerate(model.blocks):
        for name, ours in _PLAIN.items():
            getattr(block, ours).copy_(stored[f"block.{layer}.{name}"])
        for name, ours in _PACKED.items():
            blocks, scales = stored[f"block.{layer}.{name}.blocks"], stored[f"block.{layer}.{name}.scales"]
            getattr(block, ours).copy_(dequantize(blocks, scales, torch.float32))
    v = model.vocabulary
    v.flag_rows.copy_(stored["vocabulary.flag_rows"])
    v.unused.copy_(stored["vocabulary.unused_row"])
    delta = stored["vocabulary.delta"].float() * stored["vocabulary.delta_scale"][:, None]
    index = v.index[stored["vocabulary.common"].long()]
    kept = index < len(v.common)
    v.delta[index[kept]] = delta[kept]
