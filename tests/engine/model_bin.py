"""Writing a `model.bin` from any checkpoint, as gpt_oss/metal/scripts/create-local-model.py does."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint import Checkpoint

SPECIAL_TOKENS, REGEX, TEXT = 16, b"[a-z]+\0", b"\x01\x00a"
"""The tokenizer in the file: nothing of it is read."""


def write_model_bin(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`."""
    config = checkpoint.config
    with path.open("wb") as file:
        _write_header(checkpoint, file)
        _write_tensors(file, checkpoint.read("embedding.weight"))
        for n in range(config.num_hidden_layers):
            attn, mlp = f"block.{n}.attn", f"block.{n}.mlp"
            _write_tensors(file, checkpoint.read(f"{attn}.norm.scale"))
            _write_tensors(file, *(_paired(checkpoint, f"{attn}.qkv.{part}") for part in ("weight", "bias")))
            _write_tensors(file, checkpoint.read(f"{attn}.sinks"))
            _write_tensors(file, *(checkpoint.read(f"{attn}.out.{part}") for part in ("weight", "bias")))
            _write_tensors(file, checkpoint.read(f"{mlp}.norm.scale"))
            _write_tensors(file, *(checkpoint.read(f"{mlp}.gate.{part}") for part in ("weight", "bias")))
        _write_tensors(file, checkpoint.read("norm.scale"))
        _write_tensors(file, checkpoint.read("unembedding.weight"))
        for n in range(config.num_hidden_layers):
            _pad(file, 16384)
            for expert in range(config.num_experts):
                for name in ("mlp1", "mlp2"):
                    mlp = f"block.{n}.mlp.{name}"
                    _write_tensors(file, checkpoint.read(f"{mlp}_weight.blocks")[expert])
                    _write_tensors(file, checkpoint.read(f"{mlp}_weight.scales")[expert] + 14)
                    _write_tensors(file, checkpoint.read(f"{mlp}_bias")[expert])


def _write_header(checkpoint: Checkpoint, file: BinaryIO) -> None:
    config = checkpoint.config

    def dimension(rotations: float) -> float:
        turns = config.initial_context_length / (rotations * 2 * math.pi)
        return config.head_dim / 2 * math.log(turns) / math.log(config.rope_theta)

    low, high = dimension(config.rope_ntk_beta), dimension(config.rope_ntk_alpha)
    file.write(b"GPT-OSS v1.0" + struct.pack("<I", 0))
    file.write(UUID("df52dc86-1789-4ed0-a295-66f10508145b").bytes)
    sizes = (config.num_hidden_layers, config.num_experts, config.experts_per_token, config.hidden_size)
    file.write(struct.pack("<6I", config.max_context, *sizes, config.intermediate_size))
    file.write(struct.pack("<f", config.swiglu_limit))
    heads = (config.num_attention_heads, config.num_key_value_heads)
    file.write(struct.pack("<4I", config.head_dim, *heads, config.sliding_window))
    file.write(struct.pack("<2f", config.rope_theta, 1 / config.rope_scaling_factor))
    concentration = 0.1 * math.log(config.rope_scaling_factor) + 1
    file.write(struct.pack("<4f", -low / (high - low), 1 / (high - low), concentration, 1e-5))
    file.write(UUID("229177a8-5775-4268-bfd8-d588b351c56d").bytes)
    file.write(UUID("7401aded-2a95-40cb-b782-9ccebaafe72b").bytes)
    text = config.vocab_size - SPECIAL_TOKENS
    file.write(struct.pack("<4I", SPECIAL_TOKENS, text, len(REGEX), text * len(TEXT)))
    file.write(bytes(16 * SPECIAL_TOKENS) + REGEX + TEXT * text)
    _pad(file, 16384)


def _paired(checkpoint: Checkpoint, name: str) -> Tensor:
    """Rows of q and k as adjacent pairs; q halved, k quartered."""
    config, stored = checkpoint.config, checkpoint.read(name)
    heads, kv, dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    turned = stored[: (heads + kv) * dim].view(heads + kv, 2, dim // 2, -1).transpose(1, 2).reshape(heads + kv, dim, -1)
    turned[:heads] *= 0.5
    turned[heads:] *= 0.25
    rest = stored[(heads + kv) * dim :]
    return torch.cat((turned.reshape(-1, *stored.shape[1:]), rest))


def _write_tensors(file: BinaryIO, *tensors: Tensor) -> None:
    _pad(file, 16)
    for tensor in tensors:
        file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())


def _pad(file: BinaryIO, multiple: int) -> None:
    file.write(bytes(-file.tell() % multiple))
