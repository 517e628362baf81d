"""Write a GGUF with the shapes of gpt-oss-20b and random weights, to compare llama.cpp with our engine.

`pip install gguf`, then `python benchmarks/random_gguf.py FILE [--layers N]`: 12 GB for all 24 layers. Types are those
of the published file: experts MXFP4, attention, embedding and unembedding Q8_0, the rest F32.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import gguf
import numpy as np
import numpy.typing as npt

HIDDEN, HEADS, KV_HEADS, DIM, EXPERTS, VOCABULARY, CONTEXT = 2880, 64, 8, 64, 32, 201088, 131072
BLOCK = 32
TYPES = {"mxfp4": gguf.GGMLQuantizationType.MXFP4, "q8_0": gguf.GGMLQuantizationType.Q8_0, "f32": None}

Tensor = tuple[str, str, tuple[int, ...]]


def tensors(layers: int) -> Iterator[Tensor]:
    """Name, type and shape of each tensor."""
    yield "token_embd.weight", "q8_0", (VOCABULARY, HIDDEN)
    yield "output_norm.weight", "f32", (HIDDEN,)
    yield "output.weight", "q8_0", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        block = f"blk.{layer}."
        for name in ("attn_norm", "post_attention_norm"):
            yield f"{block}{name}.weight", "f32", (HIDDEN,)
        for name, rows in (("attn_q", HEADS * DIM), ("attn_k", KV_HEADS * DIM), ("attn_v", KV_HEADS * DIM)):
            yield f"{block}{name}.weight", "q8_0", (rows, HIDDEN)
            yield f"{block}{name}.bias", "f32", (rows,)
        yield f"{block}attn_output.weight", "q8_0", (HIDDEN, HEADS * DIM)
        yield f"{block}attn_output.bias", "f32", (HIDDEN,)
        yield f"{block}attn_sinks.weight", "f32", (HEADS,)
        yield f"{block}ffn_gate_inp.weight", "f32", (EXPERTS, HIDDEN)
        yield f"{block}ffn_gate_inp.bias", "f32", (EXPERTS,)
        for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
            yield f"{block}{name}.weight", "mxfp4", (EXPERTS, HIDDEN, HIDDEN)
            yield f"{block}{name}.bias", "f32", (EXPERTS, HIDDEN)


def values(kind: str, shape: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.generic]:
    """Random values of about the magnitude of real weights."""
    if kind == "f32":
        return generator.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
    blocks = int(np.prod(shape)) // BLOCK
    scale_bytes, data_bytes = (1, 16) if kind == "mxfp4" else (2, 32)
    packed = np.empty((blocks, scale_bytes + data_bytes), np.uint8)
    packed[:, scale_bytes:] = np.frombuffer(generator.bytes(blocks * data_bytes), np.uint8).reshape(blocks, -1)
    if kind == "mxfp4":
        packed[:, 0] = generator.integers(119, 122, blocks, dtype=np.uint8)
    else:
        packed[:, :2] = np.array([2.7e-4], np.float16).view(np.uint8)
    return packed.reshape(*shape[:-1], -1)


def add_settings(writer: gguf.GGUFWriter, layers: int) -> None:
    """Write the metadata that llama.cpp needs about the model."""
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_expert_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(DIM)
    writer.add_value_length(DIM)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(4)
    writer.add_sliding_window(128)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(150000.0)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(32.0)
    writer.add_rope_scaling_orig_ctx_len(4096)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("none")


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--layers", type=int, default=24)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    writer = gguf.GGUFWriter(args.file, "gpt-oss")
    add_settings(writer, args.layers)
    content = [(name, kind, shape) for name, kind, shape in tensors(args.layers)]
    for name, kind, shape in content:
        sample = values(kind, (1, *shape[-1:]), generator)
        stored = (*shape[:-1], sample.shape[-1])
        size = int(np.prod(stored)) * sample.dtype.itemsize
        writer.add_tensor_info(name, stored, sample.dtype, size, raw_dtype=TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, kind, shape in content:
        writer.write_tensor_data(values(kind, shape, generator))
    writer.close()


if __name__ == "__main__":
    main()
