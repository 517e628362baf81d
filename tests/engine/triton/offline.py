"""Compile every kernel of a gpt-oss-20b step for a GPU that is not here.

`python -m tests.engine.triton.offline 90 8 2048`: the compute capability, the most tokens of a step, the length of a
prompt.
Prints one JSON object: the bytes of shared memory of each kernel. Nothing is launched, and the tensors have no memory.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from gptoss_tui.engine.checkpoint import layers
from gptoss_tui.engine.config import GPT_OSS_20B, ModelConfig
from gptoss_tui.engine.triton.decode import Decoder
from gptoss_tui.engine.triton.dense import GROUP, EightBit
from gptoss_tui.engine.triton.kernels.mxfp4 import Tiles
from gptoss_tui.engine.triton.memory import ring_slots, segment_slots
from gptoss_tui.engine.triton.prefill import Prefill
from gptoss_tui.engine.triton.weights import LayerWeights, ModelWeights

CONTEXT = 16384


class OfflineDriver:
    """What Triton asks of a driver while it compiles."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("meta")


class NoCache:
    """Tables of the shapes that a cache has."""

    def __init__(self, config: ModelConfig) -> None:
        self.config, self.context = config, CONTEXT

    def table(self, layer: int) -> tuple[Tensor, int, int]:
        if self.config.is_sliding(layer):
            return empty(2, 1, dtype=torch.int64), ring_slots(self.config, 2048), 1
        segment = segment_slots(CONTEXT)
        return empty(2, CONTEXT // segment, dtype=torch.int64), segment, CONTEXT // segment


def empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """A tensor without memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


def no_weights(config: ModelConfig) -> ModelWeights:
    """The weights of two layers, without memory."""
    hidden, inner, experts = config.hidden_size, config.intermediate_size, config.num_experts

    def tiles(rows: int, columns: int) -> Tiles:
        count = -(-columns // 64)
        values = empty(experts, rows // 16, count, 16, 32, dtype=torch.uint8)
        return Tiles(values, empty(experts, rows // 16, count, 2, 16, dtype=torch.uint8), empty(experts, rows), columns)

    norm = empty(hidden, dtype=torch.float32)
    layer: LayerWeights = layers.LayerWeights(
        attn_norm=norm,
        qkv_weight=empty(config.qkv_width, hidden),
        qkv_bias=empty(config.qkv_width),
        sinks=empty(config.num_attention_heads),
        out_weight=empty(hidden, config.query_width),
        out_bias=empty(hidden),
        mlp_norm=norm,
        gate_weight=empty(experts, hidden),
        gate_bias=empty(experts),
        mlp1=tiles(2 * inner, hidden),
        mlp2=tiles(hidden, inner),
    )
    vocabulary = empty(config.vocab_size, hidden)
    return ModelWeights(vocabulary, (layer,) * config.num_hidden_layers, norm, vocabulary)


def in_eight_bits(weights: ModelWeights) -> ModelWeights:
    """As with `--dense int8`."""

    def held(matrix: Any) -> EightBit:
        rows, columns = matrix.shape
        return EightBit(empty(rows, columns, dtype=torch.int8), empty(rows, columns // GROUP))

    layer = weights.layers[0]
    layer = replace(layer, qkv_weight=held(layer.qkv_weight), out_weight=held(layer.out_weight))
    return replace(weights, layers=(layer,) * len(weights.layers), unembedding=held(weights.unembedding))


def check_layouts(kernel: str, code: str) -> None:
    """Operands of matrix products must lie as kernels/mma.py says: four in a row for each thread. `code` is TTGIR.

    So must those of the barrier among them: a compiler that runs it for other layouts, too, makes threads wait twice.
    """
    layouts = dict(re.findall(r"^(#\w+) = (.*)$", code, re.MULTILINE))
    for line in code.splitlines():
        if "mma.sync" in line or "bar.red" in line:
            operands = re.findall(r"tensor<\d+x4x\w+, (#\w+)>", line)
            if not operands:
                raise AssertionError(f"{kernel}: a product without operands in {line[:200]}")
            for name in operands:
                layout = layouts[name]
                if not re.search(
                    r"sizePerThread = \[1, 4\], threadsPerWarp = \[32, 1\], warpsPerCTA = \[\d+, 1\], order = \[1, 0\]",
                    layout,
                ):
                    raise AssertionError(f"{kernel}: a product's operand is laid out as {layout}")


def compile_all(capability: int, most: int, prompt: int) -> dict[str, int]:
    """Kernel to the most shared memory of its variants: steps of one token and of `most`, and a chunk of a prompt."""
    shared: dict[str, int] = {}
    launch = JITFunction.run

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernel = launch(self, *args, grid=grid, warmup=True, **options)
        check_layouts(self.__name__, kernel.asm["ttgir"])
        shared[self.__name__] = max(shared.get(self.__name__, 0), kernel.metadata.shared)
        return kernel

    JITFunction.run = compile_only
    driver.set_active(OfflineDriver(capability))
    config = replace(GPT_OSS_20B, num_hidden_layers=2)
    cache: Any = NoCache(config)
    weights, overlap = no_weights(config), capability >= 90
    decoder = Decoder(config, weights, cache, overlap=overlap)
    for tokens in {1, most}:
        decoder.layers(16, tokens)
        decoder.logits(tokens)
        decoder.choose(tokens)
    decoder.draft()
    # Most of the time goes into these. Each is compiled for one of those who have tensor cores of this kind.
    eight_bits = in_eight_bits(weights)
    kinds = {86: ((weights, 1), (eight_bits, 8)), 90: ((weights, 8),), 120: ((eight_bits, 1),)}
    for other, tokens in kinds[capability]:
        tiled = Decoder(config, other, cache, overlap=overlap, tiled=True)
        tiled.project_in(0, tokens)
        tiled.project_out(0, tokens)
        tiled.logits(tokens)
    Prefill(decoder).run(empty(prompt, dtype=torch.int64))
    return shared


if __name__ == "__main__":
    print(json.dumps(compile_all(*map(int, sys.argv[1:]))))
