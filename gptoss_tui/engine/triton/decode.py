"""One decode step: everything between a token and the next, on the device and without the host.

Six launches a layer: norm and QKV, attention, output projection, router, experts up, experts down; then logits and the
choice of the token. What changes from step to step (position, token, noise) is in device memory, so the step can be
captured as a CUDA graph once and replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from gptoss_tui.engine.config import RMS_NORM_EPS, SWIGLU_ALPHA, ModelConfig
from gptoss_tui.engine.sampling import NUM_TEXT_TOKENS
from gptoss_tui.engine.torch.model import rope_tables
from gptoss_tui.engine.triton.kernels.attention import attend_kernel
from gptoss_tui.engine.triton.kernels.experts import down_kernel, gate_up_kernel
from gptoss_tui.engine.triton.kernels.gemv import out_kernel, qkv_kernel, router_kernel
from gptoss_tui.engine.triton.kernels.mxfp4 import TILE_ROWS
from gptoss_tui.engine.triton.kernels.unembed import candidates_kernel, choose_kernel, logits_kernel
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.weights import ModelWeights

RING = 256
"""Chosen tokens that the device keeps for the host."""

MAX_STATES, MAX_EDGES = 8192, 32768
"""Room for an automaton; that of twenty tools takes about 800 states."""

MAX_SPLITS = 32
"""Parts of the keys of a key/value head."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Sizes of the decode kernels' programs, found by benchmarks/triton_kernels.py.

    `rows`: rows a program of a dense product; `block`: columns it reads at once; `strips`: tile rows a program of the
    experts' first product, a power of two; `up_span` and `down_span`: MXFP4 tiles of a row read at once; `down_rows`:
    rows a program of the second product, a divisor of 16; `keys`: keys read at once.
    """

    rows: int = 4
    block: int = 512
    strips: int = 4
    up_span: int = 4
    down_span: int = 8
    down_rows: int = 8
    keys: int = 64
    head_rows: int = 8
    vocabulary: int = 2048
    dense_warps: int = 4
    expert_warps: int = 4


class State:
    """What a step reads and leaves behind, at fixed addresses."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device, blocks: Blocks) -> None:
        def floats(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float32, device=device)

        def ints(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        heads = config.num_key_value_heads
        self.x = floats(config.hidden_size)
        self.query = torch.zeros(config.query_width, dtype=dtype, device=device)
        self.mixed = torch.zeros_like(self.query)
        self.parts = floats(heads, MAX_SPLITS, _head_rows(config), config.head_dim)
        self.stats = floats(heads, MAX_SPLITS, 2, _head_rows(config))
        self.arrived = ints(heads, dtype=torch.int32)
        self.scores = floats(config.num_experts)
        self.t = torch.zeros(config.hidden_size, dtype=dtype, device=device)
        self.hidden = torch.zeros((config.experts_per_token, config.intermediate_size), dtype=dtype, device=device)
        self.logits = floats(config.vocab_size)
        programs = triton.cdiv(config.vocab_size, blocks.vocabulary)
        self.best, self.top, self.mass = floats(programs), floats(programs), floats(programs)
        self.place = ints(programs, dtype=torch.int32)
        self.position, self.step, self.seed, self.token = ints(1), ints(1), ints(1), ints(1)
        self.temperature, self.logprob = floats(1), floats(1)
        self.bias = floats(config.vocab_size)
        self.tokens, self.logprobs = ints(RING), floats(RING)
        # An automaton that the choice follows (see kernels/unembed.py), and its state; -1: there is none.
        self.at = ints(1).fill_(-1)
        self.starts, self.text = ints(MAX_STATES + 1, dtype=torch.int32), ints(MAX_STATES, dtype=torch.uint8)
        self.ids, self.following = ints(MAX_EDGES, dtype=torch.int32), ints(MAX_EDGES, dtype=torch.int32)


def _head_rows(config: ModelConfig) -> int:
    """Query heads of a key/value head, as many as a product takes at least."""
    return max(16, int(triton.next_power_of_2(config.heads_per_kv)))


class Decoder:
    """The step of a model. Kernels only: nothing here waits for the device."""

    def __init__(
        self, config: ModelConfig, weights: ModelWeights, cache: KVCache, blocks: Blocks | None = None
    ) -> None:
        self.config, self.weights, self.cache = config, weights, cache
        self.blocks = blocks or Blocks()
        cos, sin = rope_tables(config, cache.context, torch.float32)
        self.cos, self.sin = cos.to(weights.device), sin.to(weights.device)  # [context, 1, D / 2]
        self.state = State(config, weights.dtype, weights.device, self.blocks)

    def layers(self, splits: int) -> None:
        """Run `state.x` through all layers at `state.position`, with the keys of full layers split so many times."""
        for index in range(len(self.weights.layers)):
            self.layer(index, splits)

    def layer(self, index: int, splits: int) -> None:
        """Run `state.x` through one layer."""
        self.project_in(index)
        self.attend(index, splits)
        self.project_out(index)
        self.route(index)
        self.experts_up(index)
        self.experts_down(index)

    def project_in(self, index: int) -> None:
        """`state.query` of `state.x`; its key and value go into the cache."""
        config, state, blocks, layer = self.config, self.state, self.blocks, self.weights.layers[index]
        table, slots, segments = self.cache.table(index)
        heads, keys = config.num_attention_heads, config.num_key_value_heads
        pairs = max(1, blocks.rows // 2)
        qkv_kernel[(heads + 2 * keys, triton.cdiv(config.head_dim // 2, pairs))](
            state.x, layer.attn_norm, layer.qkv_weight, layer.qkv_bias, self.cos, self.sin, state.position,
            state.query, table, H=config.hidden_size, Q=heads, K=keys, D=config.head_dim, SLOTS=slots,
            SEGMENTS=segments, EPS=RMS_NORM_EPS, PAIRS=pairs, BLOCK=blocks.block, num_warps=blocks.dense_warps,
        )  # fmt: skip

    def attend(self, index: int, splits: int) -> None:
        """`state.mixed` of `state.query` and the cache."""
        config, state, blocks = self.config, self.state, self.blocks
        table, slots, segments = self.cache.table(index)
        keys = config.num_key_value_heads
        window = config.sliding_window if config.is_sliding(index) else 0
        if window:
            splits = min(splits, triton.cdiv(window, blocks.keys))
        attend_kernel[(keys, splits)](
            state.query, table, self.weights.layers[index].sinks, state.position, state.mixed, state.parts,
            state.stats, state.arrived, config.head_dim**-0.5, Q=config.num_attention_heads, K=keys,
            D=config.head_dim, SLOTS=slots, SEGMENTS=segments, WINDOW=window, SPLITS=splits,
            ROWS=_head_rows(config), BLOCK=min(blocks.keys, slots),
        )  # fmt: skip

    def project_out(self, index: int) -> None:
        """`state.x` plus the output projection of `state.mixed`."""
        config, state, blocks, layer = self.config, self.state, self.blocks, self.weights.layers[index]
        out_kernel[(triton.cdiv(config.hidden_size, blocks.rows),)](
            state.mixed, layer.out_weight, layer.out_bias, state.x,
            H=config.hidden_size, WIDTH=config.query_width, ROWS=blocks.rows, BLOCK=blocks.block,
            num_warps=blocks.dense_warps,
        )  # fmt: skip

    def route(self, index: int) -> None:
        """`state.t`, the normed `state.x`, and `state.scores` of the experts for it."""
        config, state, blocks, layer = self.config, self.state, self.blocks, self.weights.layers[index]
        router_kernel[(config.num_experts,)](
            state.x, layer.mlp_norm, layer.gate_weight, layer.gate_bias, state.scores, state.t,
            H=config.hidden_size, E=config.num_experts, EPS=RMS_NORM_EPS, BLOCK=blocks.block,
            num_warps=blocks.dense_warps,
        )  # fmt: skip

    def experts_up(self, index: int) -> None:
        """`state.hidden` of the best experts."""
        config, state, blocks, up = self.config, self.state, self.blocks, self.weights.layers[index].mlp1
        tile_rows = 2 * config.intermediate_size // TILE_ROWS
        strips = math.gcd(blocks.strips, tile_rows)
        gate_up_kernel[(tile_rows // strips, config.experts_per_token)](
            state.t, state.scores, up.values, up.scales, up.bias, state.hidden, config.swiglu_limit,
            ALPHA=SWIGLU_ALPHA, TILES=up.tiles, STRIPS=strips, SPAN=min(blocks.up_span, _span(up.tiles)),
            **self._choice,
        )  # fmt: skip

    def experts_down(self, index: int) -> None:
        """`state.x` plus what the best experts make of `state.hidden`."""
        config, state, blocks, down = self.config, self.state, self.blocks, self.weights.layers[index].mlp2
        down_kernel[(config.hidden_size // blocks.down_rows,)](
            state.hidden, state.scores, down.values, down.scales, down.bias, state.x,
            TILES=down.tiles, SPAN=min(blocks.down_span, _span(down.tiles)), ROWS=blocks.down_rows, **self._choice,
        )  # fmt: skip

    @property
    def _choice(self) -> dict[str, int]:
        """What both products of the experts need to know which ones were chosen."""
        config, top = self.config, self.config.experts_per_token
        return {
            "H": config.hidden_size,
            "I": config.intermediate_size,
            "E": config.num_experts,
            "EP": triton.next_power_of_2(config.num_experts),
            "TOP": top,
            "TP": triton.next_power_of_2(top),
            "num_warps": self.blocks.expert_warps,
        }

    def logits(self) -> None:
        """`state.logits` of `state.x`."""
        config, state, blocks = self.config, self.state, self.blocks
        logits_kernel[(triton.cdiv(config.vocab_size, blocks.head_rows),)](
            state.x, self.weights.norm, self.weights.unembedding, state.logits,
            H=config.hidden_size, V=config.vocab_size, EPS=RMS_NORM_EPS, ROWS=blocks.head_rows, BLOCK=blocks.block,
            num_warps=blocks.dense_warps,
        )  # fmt: skip

    def choose(self) -> None:
        """Draw `state.token` from `state.logits`; `state.x` becomes its embedding, at the next position."""
        config, state, block = self.config, self.state, self.blocks.vocabulary
        programs = triton.cdiv(config.vocab_size, block)
        candidates_kernel[(programs,)](
            state.logits, state.bias, state.temperature, state.seed, state.step,
            state.at, state.starts, state.text, state.ids,
            state.best, state.place, state.top, state.mass,
            V=config.vocab_size, FIRST_SPECIAL=NUM_TEXT_TOKENS, BLOCK=block,
        )  # fmt: skip
        choose_kernel[(1,)](
            state.logits, state.best, state.place, state.top, state.mass, self.weights.embedding, state.x,
            state.position, state.step, state.at, state.starts, state.text, state.ids, state.following,
            state.token, state.logprob, state.tokens, state.logprobs,
            H=config.hidden_size, PARTS=programs, PARTS2=triton.next_power_of_2(programs), RING=RING,
            H2=triton.next_power_of_2(config.hidden_size),
        )  # fmt: skip


def _span(tiles: int) -> int:
    return int(triton.next_power_of_2(tiles))
