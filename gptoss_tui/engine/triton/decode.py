"""One decode step: everything between one token and the next, computed on the device without help from the host.

A step runs one token, or a token followed by its drafts (see kernels/draft.py). It launches six kernels per layer: norm
and QKV, attention, output projection, router, experts up, experts down; then the logits and the choice of the token.
Everything that changes from step to step (position, token, noise) is kept in device memory, so a step can be captured
once as a CUDA graph and replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from gptoss_tui.engine.config import RMS_NORM_EPS, SWIGLU_ALPHA, ModelConfig
from gptoss_tui.engine.torch.model import rope_tables
from gptoss_tui.engine.triton.dense import EightBit, Matrix
from gptoss_tui.engine.triton.kernels.attention import attend_kernel
from gptoss_tui.engine.triton.kernels.dense import logits_tiles_kernel, out_tiles_kernel, qkv_tiles_kernel
from gptoss_tui.engine.triton.kernels.draft import draft_kernel
from gptoss_tui.engine.triton.kernels.experts import down_kernel, gate_up_kernel
from gptoss_tui.engine.triton.kernels.gemv import out_kernel, qkv_kernel
from gptoss_tui.engine.triton.kernels.mxfp4 import TILE_ROWS
from gptoss_tui.engine.triton.kernels.norm import scale_kernel
from gptoss_tui.engine.triton.kernels.router import router_kernel
from gptoss_tui.engine.triton.kernels.unembed import candidates_kernel, choose_kernel, logits_kernel
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.weights import ModelWeights
from gptoss_tui.vocabulary import NUM_TEXT_TOKENS

RING = 256
"""How many chosen tokens the device keeps for the host to read."""

MAX_STATES, MAX_EDGES = 8192, 32768
"""The largest automaton that fits on the device; one for twenty tools takes about 800 states."""

MAX_SPLITS = 32
"""The most parts that the keys of a key/value head are split into."""

LOOKUP_PROGRAMS = 32
"""The most programs that share the search for drafts in the sequence."""

SCALED_STRIPS = 64
"""Strips of 16 columns that one program of `scale_kernel` handles."""

FUSED = {"enable_fp_fusion": True}
"""Passed to every launch: a product and a sum may be fused into one instruction. Triton's default changes with 3.10."""

MAX_TOKENS = 8
"""The most tokens in a step: one, and the drafts after it."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Sizes of the decode kernels' programs, found by benchmarks/triton_kernels.py.

    All steps use the same sizes, so a token gets the same numbers, bit for bit, alone and in a step of several.

    `*_rows`: rows of a product that a program reads at once; `*_steps`: how often it does so; `*_block`: columns of a
    dense product that are added up side by side, a power of two; `up_strips`: tile rows per program in the experts'
    first product; `*_warps`: warps per program; `keys`: keys read at once; `window_splits`: the most programs that
    share a sliding window; `vocabulary`: logits per program when a token is chosen; `lookup`: tokens that the search
    for drafts compares at once.
    """

    qkv_rows: int = 4
    qkv_steps: int = 1
    qkv_block: int = 1024
    qkv_warps: int = 4
    keys: int = 128
    window_splits: int = 2
    attend_warps: int = 4
    out_rows: int = 2
    out_steps: int = 4
    out_block: int = 1024
    out_warps: int = 4
    route_block: int = 1024
    route_warps: int = 8
    up_strips: int = 1
    up_warps: int = 2
    down_warps: int = 2
    head_rows: int = 4
    head_block: int = 512
    head_warps: int = 4
    vocabulary: int = 2048
    lookup: int = 1024


@dataclass(frozen=True, slots=True)
class DenseSizes:
    """Sizes of the dense products on the tensor cores (kernels/dense.py): warps per program, and steps.

    `qkv_registers`: registers per thread; with more of them, fewer programs fit on an SM. `head_programs`: programs per
    SM in the unembedding.
    """

    qkv_warps: int = 4
    qkv_steps: int = 6
    qkv_registers: int = 128
    out_warps: int = 4
    out_steps: int = 8
    head_warps: int = 8
    head_steps: int = 2
    head_programs: int = 2


class State:
    """What a step reads and writes, at fixed addresses. `x` and `logits` are views of the first token's rows."""

    def __init__(
        self, config: ModelConfig, context: int, dtype: torch.dtype, device: torch.device, blocks: Blocks
    ) -> None:
        self._device, self._dtype = device, dtype
        self.position, self.step, self.seed, self.token = (self._longs(1) for _ in range(4))
        self.xs = self._floats(MAX_TOKENS, config.hidden_size)
        self.x = self.xs[0]
        self._make_attention(config)
        self._make_experts(config)
        self._make_choice(config, blocks)
        self._make_drafts(context)

    def _make_attention(self, config: ModelConfig) -> None:
        groups, rows = config.num_key_value_heads * _row_groups(config, MAX_TOKENS), _rows(config)
        self.scaled = self._zeros(MAX_TOKENS, config.hidden_size)
        self.squares = self._floats(MAX_TOKENS, config.hidden_size // TILE_ROWS)
        self.query = self._zeros(MAX_TOKENS, config.query_width)
        self.mixed = torch.zeros_like(self.query)
        self.parts = self._floats(groups, MAX_SPLITS, rows, config.head_dim)
        self.stats = self._floats(groups, MAX_SPLITS, 2, rows)
        self.arrived = self._ints(groups)

    def _make_experts(self, config: ModelConfig) -> None:
        chosen, strips = most_experts(config, MAX_TOKENS), config.hidden_size // TILE_ROWS
        self.scores = self._floats(MAX_TOKENS, config.num_experts)
        self.t = self._zeros(MAX_TOKENS, config.hidden_size)
        self.hidden = self._zeros(chosen, MAX_TOKENS, config.intermediate_size)
        self.experts, self.chosen, self.routed = self._ints(chosen), self._ints(1), self._ints(1)
        self.shares = self._floats(chosen, MAX_TOKENS)
        self.down_parts = self._floats(strips, chosen, TILE_ROWS, MAX_TOKENS)
        self.down_arrived = self._ints(strips)

    def _make_choice(self, config: ModelConfig, blocks: Blocks) -> None:
        programs = triton.cdiv(config.vocab_size, blocks.vocabulary)
        self.all_logits = self._floats(MAX_TOKENS, config.vocab_size)
        self.logits = self.all_logits[0]
        self.best, self.top, self.mass = (self._floats(MAX_TOKENS, programs) for _ in range(3))
        self.place = self._ints(MAX_TOKENS, programs)
        self.temperature, self.logprob = self._floats(1), self._floats(1)
        self.bias = self._floats(config.vocab_size)
        self.tokens, self.logprobs = self._longs(RING), self._floats(RING)
        # The automaton that restricts the choice (see kernels/unembed.py), and its state before each choice; -1: none.
        self.at = self._longs(MAX_TOKENS).fill_(-1)
        self.starts, self.text = self._ints(MAX_STATES + 1), self._zeros(MAX_STATES, dtype=torch.uint8)
        self.ids, self.following = self._ints(MAX_EDGES), self._ints(MAX_EDGES)

    def _make_drafts(self, context: int) -> None:
        # Of a step's `count` inputs, all but the first are drafts. They are looked up in `history`, whose last line is
        # scratch memory for that search.
        self.drafts = self._ints(MAX_TOKENS)
        self.count = self._ints(1).fill_(1)
        self.history = self._ints(context + 1)
        self.found, self.looked = self._longs(1), self._ints(1)

    def _zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.zeros(shape, dtype=dtype or self._dtype, device=self._device)

    def _floats(self, *shape: int) -> Tensor:
        return self._zeros(*shape, dtype=torch.float32)

    def _ints(self, *shape: int) -> Tensor:
        return self._zeros(*shape, dtype=torch.int32)

    def _longs(self, *shape: int) -> Tensor:
        return self._zeros(*shape, dtype=torch.int64)


def most_experts(config: ModelConfig, tokens: int) -> int:
    """The largest number of different experts that `tokens` tokens can choose."""
    return min(config.num_experts, tokens * config.experts_per_token)


def _group(config: ModelConfig) -> int:
    """Query heads per key/value head, rounded up to a power of two."""
    return int(triton.next_power_of_2(config.heads_per_kv))


def _rows(config: ModelConfig) -> int:
    """Rows per attention program, one for each token and query head of a key/value head; `tl.dot` needs at least 16."""
    return max(16, _group(config))


def _row_groups(config: ModelConfig, tokens: int) -> int:
    """Programs of attention that share the tokens of a step."""
    return -(-tokens * _group(config) // _rows(config))


class Decoder:
    """Runs the decode step of a model. It only launches kernels: nothing here waits for the device."""

    def __init__(
        self,
        config: ModelConfig,
        weights: ModelWeights,
        cache: KVCache,
        blocks: Blocks | None = None,
        *,
        dense: DenseSizes | None = None,
        overlap: bool | None = None,
        tiled: bool | None = None,
    ) -> None:
        """`overlap`: each kernel begins before the previous one has ended; by default, wherever the device can do it.

        `tiled`: dense products run on the tensor cores; by default, for a bfloat16 model on a GPU.
        """
        self.config, self.weights, self.cache = config, weights, cache
        self.blocks, self.dense = blocks or Blocks(), dense or DenseSizes()
        on_cores = weights.dtype == torch.bfloat16 and weights.device.type == "cuda"
        self.tiled = (on_cores if tiled is None else tiled) or isinstance(weights.unembedding, EightBit)
        overlap = can_overlap(weights.device) if overlap is None else overlap
        self.processors = _processors(weights.device)
        self._launch: dict[str, bool] = {"OVERLAP": overlap, **FUSED, **({"launch_pdl": True} if overlap else {})}
        cos, sin = rope_tables(config, cache.context, torch.float32)
        self.cos, self.sin = cos.to(weights.device), sin.to(weights.device)  # [context, 1, D / 2]
        self.state = State(config, cache.context, weights.dtype, weights.device, self.blocks)

    def layers(self, splits: int, tokens: int = 1) -> None:
        """Run the first `tokens` rows of `state.xs` (a power of two) through all layers.

        The first token is at `state.position`. The keys of full layers are split into `splits` parts.
        """
        self.scale(0, tokens)
        for index in range(len(self.weights.layers)):
            self.layer(index, splits, tokens)

    def scale(self, index: int, tokens: int = 1) -> None:
        """Prepare `state.xs`, written from outside, for layer `index`, or for the logits if there is no such layer."""
        state, hidden = self.state, self.config.hidden_size
        scale_kernel[(triton.cdiv(hidden, 16 * SCALED_STRIPS), tokens)](
            state.xs, self._gains(index), state.scaled, state.squares, H=hidden, BLOCK=SCALED_STRIPS, **self._launch
        )

    def _gains(self, index: int) -> Tensor:
        """The gains of the norm before layer `index`, or before the logits if there is no such layer."""
        layers = self.weights.layers
        return layers[index].attn_norm if index < len(layers) else self.weights.norm

    def layer(self, index: int, splits: int, tokens: int = 1) -> None:
        """Run `state.xs` through one layer. It must be prepared (see `scale`), and is for the next layer afterwards."""
        self.project_in(index, tokens)
        self.attend(index, splits, tokens)
        self.project_out(index, tokens)
        self.route(index, tokens)
        self.experts_up(index, tokens)
        self.experts_down(index, tokens)

    def project_in(self, index: int, tokens: int = 1) -> None:
        """Compute `state.query` from the prepared `state.xs`, and write keys and values into the cache."""
        config, state, blocks, layer = self.config, self.state, self.blocks, self.weights.layers[index]
        table, slots, segments = self.cache.table(index)
        heads, keys, half = config.num_attention_heads, config.num_key_value_heads, config.head_dim // 2
        others = (layer.qkv_bias, self.cos, self.sin, state.position, state.query, table)
        shape = {
            "H": config.hidden_size, "Q": heads, "K": keys, "D": config.head_dim, "SLOTS": slots, "SEGMENTS": segments,
            "EPS": RMS_NORM_EPS, "TOKENS": tokens, **self._launch,
        }  # fmt: skip
        if self.tiled:
            warps = self.dense.qkv_warps
            values, scales, eight = _matrix(layer.qkv_weight)
            qkv_tiles_kernel[(heads + 2 * keys, triton.cdiv(half, 8))](
                state.scaled, state.squares, values, scales, *others,
                STEPS=self.dense.qkv_steps, WARPS=warps, EIGHT=eight, num_warps=warps,
                maxnreg=self.dense.qkv_registers, **shape,
            )  # fmt: skip
            return
        pairs = max(1, blocks.qkv_rows // 2)
        qkv_kernel[(heads + 2 * keys, triton.cdiv(half, pairs * blocks.qkv_steps))](
            state.scaled, state.squares, layer.qkv_weight, *others, PAIRS=pairs, STEPS=blocks.qkv_steps,
            BLOCK=blocks.qkv_block, num_warps=blocks.qkv_warps, **shape,
        )  # fmt: skip

    def attend(self, index: int, splits: int, tokens: int = 1) -> None:
        """Attention: compute `state.mixed` from `state.query` and the cache."""
        config, state, blocks = self.config, self.state, self.blocks
        table, slots, segments = self.cache.table(index)
        keys = config.num_key_value_heads
        window = config.sliding_window if config.is_sliding(index) else 0
        if window:
            splits = min(splits, blocks.window_splits, triton.cdiv(window, blocks.keys))
        layer = self.weights.layers[index]
        attend_kernel[(keys, splits, _row_groups(config, tokens))](
            state.query, table, layer.sinks, state.position, state.mixed, state.parts, state.stats, state.arrived,
            config.head_dim**-0.5, Q=config.num_attention_heads, K=keys,
            D=config.head_dim, SLOTS=slots, SEGMENTS=segments, WINDOW=window, SPLITS=splits,
            ROWS=_rows(config), BLOCK=min(blocks.keys, slots), GROUP=_group(config), TOKENS=tokens,
            num_warps=blocks.attend_warps,
            **self._launch,
        )  # fmt: skip

    def project_out(self, index: int, tokens: int = 1) -> None:
        """Add the output projection of `state.mixed` to `state.xs`."""
        config, state, blocks, layer = self.config, self.state, self.blocks, self.weights.layers[index]
        hidden = config.hidden_size
        shape = {"H": hidden, "WIDTH": config.query_width, "TOKENS": tokens, **self._launch}
        if self.tiled:
            warps, steps = self.dense.out_warps, self.dense.out_steps
            values, scales, eight = _matrix(layer.out_weight)
            out_tiles_kernel[(triton.cdiv(hidden, 16),)](
                state.mixed, values, scales, layer.out_bias, state.xs,
                WARPS=warps, STEPS=steps, EIGHT=eight, num_warps=warps, **shape,
            )  # fmt: skip
            return
        rows, steps = blocks.out_rows, blocks.out_steps
        out_kernel[(triton.cdiv(hidden, rows * steps),)](
            state.mixed, layer.out_weight, layer.out_bias, state.xs,
            ROWS=rows, STEPS=steps, BLOCK=blocks.out_block, num_warps=blocks.out_warps, **shape,
        )  # fmt: skip

    def route(self, index: int, tokens: int = 1) -> None:
        """Compute `state.t`, the normed `state.xs`, and choose the experts for it."""
        config, state, blocks, layer = self.config, self.state, self.blocks, self.weights.layers[index]
        router_kernel[(config.num_experts, tokens)](
            state.xs, layer.mlp_norm, layer.gate_weight, layer.gate_bias, state.count, state.scores, state.t,
            state.experts, state.shares, state.chosen, state.routed,
            H=config.hidden_size, E=config.num_experts, EP=triton.next_power_of_2(config.num_experts),
            TOP=config.experts_per_token, EPS=RMS_NORM_EPS, BLOCK=blocks.route_block, TOKENS=tokens,
            num_warps=blocks.route_warps, **self._launch,
        )  # fmt: skip

    def experts_up(self, index: int, tokens: int = 1) -> None:
        """Compute `state.hidden`, the first half of the chosen experts, from `state.t`."""
        config, state, up, blocks = self.config, self.state, self.weights.layers[index].mlp1, self.blocks
        tile_rows = 2 * config.intermediate_size // TILE_ROWS
        strips = math.gcd(blocks.up_strips, tile_rows)
        gate_up_kernel[(tile_rows // strips, most_experts(config, tokens))](
            state.t, state.experts, state.chosen, up.values, up.scales, up.bias, state.hidden, config.swiglu_limit,
            H=config.hidden_size, I=config.intermediate_size, ALPHA=SWIGLU_ALPHA, TILES=up.tiles, STRIPS=strips,
            WARPS=blocks.up_warps, num_warps=blocks.up_warps, TOKENS=tokens, **self._launch,
        )  # fmt: skip

    def experts_down(self, index: int, tokens: int = 1) -> None:
        """Add the weighted outputs of the chosen experts for `state.hidden` to `state.xs`."""
        config, state, down, blocks = self.config, self.state, self.weights.layers[index].mlp2, self.blocks
        down_kernel[(config.hidden_size // TILE_ROWS, most_experts(config, tokens))](
            state.hidden, state.experts, state.shares, state.chosen, down.values, down.scales, down.bias, state.xs,
            self._gains(index + 1), state.scaled, state.squares, state.down_parts, state.down_arrived,
            H=config.hidden_size, I=config.intermediate_size,
            TILES=down.tiles, PLACES=len(state.experts), WARPS=blocks.down_warps, num_warps=blocks.down_warps,
            TOKENS=tokens, **self._launch,
        )  # fmt: skip

    def logits(self, tokens: int = 1) -> None:
        """Compute `state.all_logits` from `state.xs`, which must be prepared (see `scale`)."""
        config, state, blocks = self.config, self.state, self.blocks
        unembedding, vocabulary = self.weights.unembedding, config.vocab_size
        shape = {"H": config.hidden_size, "V": vocabulary, "EPS": RMS_NORM_EPS, "TOKENS": tokens, **self._launch}
        if self.tiled:
            warps, programs = self.dense.head_warps, self.processors * self.dense.head_programs
            values, scales, eight = _matrix(unembedding)
            logits_tiles_kernel[(programs,)](
                state.scaled, state.squares, values, scales, state.all_logits,
                PROGRAMS=programs, STEPS=self.dense.head_steps, WARPS=warps, EIGHT=eight, num_warps=warps, **shape,
            )  # fmt: skip
            return
        logits_kernel[(triton.cdiv(vocabulary, blocks.head_rows),)](
            state.scaled, state.squares, unembedding, state.all_logits,
            ROWS=blocks.head_rows, BLOCK=blocks.head_block, num_warps=blocks.head_warps, **shape,
        )  # fmt: skip

    def choose(self, tokens: int = 1) -> None:
        """Draw tokens from `state.all_logits`, one for each input as long as the drafts were right.

        The last one drawn becomes `state.token`. `state.x` becomes its embedding, and `state.position` its position.
        """
        config, state, block = self.config, self.state, self.blocks.vocabulary
        programs = triton.cdiv(config.vocab_size, block)
        candidates_kernel[(programs, tokens)](
            state.all_logits, state.bias, state.temperature, state.seed, state.step,
            state.at, state.starts, state.text, state.ids,
            state.best, state.place, state.top, state.mass,
            V=config.vocab_size, FIRST_SPECIAL=NUM_TEXT_TOKENS, BLOCK=block, PARTS=programs, **self._launch,
        )  # fmt: skip
        choose_kernel[(1,)](
            state.all_logits, state.best, state.place, state.top, state.mass, self.weights.embedding, state.xs,
            state.position, state.step, state.at, state.starts, state.text, state.ids, state.following,
            state.drafts, state.count, state.history, state.token, state.logprob, state.tokens, state.logprobs,
            H=config.hidden_size, V=config.vocab_size, PARTS=programs, PARTS2=triton.next_power_of_2(programs),
            RING=RING, H2=triton.next_power_of_2(config.hidden_size), TOKENS=tokens, **self._launch,
        )  # fmt: skip

    def draft(self) -> None:
        """Look up up to seven drafts that may follow `state.token`, and write their embeddings to `state.xs`."""
        config, state = self.config, self.state
        programs = min(LOOKUP_PROGRAMS, triton.cdiv(self.cache.context, self.blocks.lookup))
        draft_kernel[(programs,)](
            state.history, state.position, self.weights.embedding, state.xs,
            state.at, state.starts, state.text, state.ids, state.following,
            state.drafts, state.count, state.found, state.looked,
            H=config.hidden_size, H2=triton.next_power_of_2(config.hidden_size), BLOCK=self.blocks.lookup,
            PROGRAMS=programs, TOKENS=MAX_TOKENS, **FUSED,
        )  # fmt: skip


def _matrix(matrix: Matrix) -> tuple[Tensor, Tensor, bool]:
    """Values, scales, and whether the matrix is in 8 bits; if not, the scales are a placeholder that is never read."""
    return (matrix.values, matrix.scales, True) if isinstance(matrix, EightBit) else (matrix, matrix, False)


def _processors(device: torch.device) -> int:
    """The number of multiprocessors of a GPU; a small number in Triton's interpreter."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def can_overlap(device: torch.device) -> bool:
    """Whether a kernel can begin before the previous one has ended: on Hopper and newer."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
